#include "tools/muster/text.hpp"

#include <catch2/catch.hpp>

#include "tools/muster/render/table.hpp"

namespace muster::cli {
namespace {

TEST_CASE("hostile text becomes visible") {
  CHECK(safe_text("a\tb\r\nc\n") == "a\tb\nc\n");
  CHECK(safe_text("\x1b]0;owned\x07") == "\\x1b]0;owned\\x07");
  CHECK(safe_text("\x1b[31mred\x1b[0m") == "\\x1b[31mred\\x1b[0m");
  CHECK(safe_text("\x1b[31mred\x1b[0m\x1b[2J", true) == "\x1b[31mred\x1b[0m\\x1b[2J");
  CHECK(safe_text("back\b\b\rover") == "back\\x08\\x08\\x0dover");
  CHECK(safe_text("\xc2\x9b"
                  "31m") == "\\x9b31m");
  CHECK(safe_text("\xff\xc3") == "\\xff\\xc3");
  CHECK(safe_text("caf\u00e9 \U0001F600") == "caf\u00e9 \U0001F600");
  CHECK(safe_text("x\u202Egnp.exe") == "x\\u202egnp.exe");
  CHECK(safe_text("\xed\xa0\x80") == "\\xed\\xa0\\x80");
  CHECK(safe_line("a\nb\tc") == "a b c");
}

TEST_CASE("columns, cutting and padding count characters") {
  CHECK(columns("café") == 4);
  CHECK(cut("café au lait", 5) == "café…");
  CHECK(cut("short", 5) == "short");
  CHECK(cut_coloured("\x1b[31mcafé\x1b[0m au lait", 5) == "\x1b[31mcafé\x1b[0m…");
  CHECK(cut_coloured("\x1b[31mcafé\x1b[0m", 4) == "\x1b[31mcafé\x1b[0m");
  CHECK(padded("é", 3) + "|" == "é  |");
  CHECK(padded("7", 3, true) == "  7");
}

TEST_CASE("amounts for people") {
  CHECK(human_duration(Duration{850}) == "850ms");
  CHECK(human_duration(Duration{12'340}) == "12.3s");
  CHECK(human_duration(Duration{252'000}) == "4m12s");
  CHECK(human_duration(Duration{7'500'000}) == "2h05m");
  CHECK(human_duration(Duration{273'600'000}) == "3d04h");
  CHECK(human_bytes(512) == "512 B");
  CHECK(human_bytes(1536ull << 20) == "1.5 GiB");
  CHECK(human_count(1234567) == "1,234,567");
  CHECK(plural(1, "repository", "repositories") == "1 repository");
  CHECK(plural(0, "run") == "0 runs");
  CHECK(last_lines("a\nb\nc\n", 2) == "b\nc");
  CHECK(last_lines("a\nb", 5) == "a\nb");
  CHECK(shell_quoted("./a b'c") == "'./a b'\\''c'");
}

TEST_CASE("a table fits the terminal and keeps its columns") {
  Table table({{"NAME", Table::Align::left, true},
               {"N", Table::Align::right},
               {"WHAT", Table::Align::left, true}});
  table.add({"acme/a-rather-long-name", "7", {"failed\x1b[2J", Style::red}});
  table.add({"b", "1,000", "ok"});
  CHECK(table.text({}) ==
        "NAME                         N  WHAT\n"
        "acme/a-rather-long-name      7  failed\\x1b[2J\n"
        "b                        1,000  ok\n");
  CHECK(table.text({32, false}) ==
        "NAME             N  WHAT\n"
        "acme/a-rat…      7  failed\\x1b[…\n"
        "b            1,000  ok\n");
  Table coloured({{"A"}, {"B"}});
  coloured.add({{"x", Style::green}, "y"});
  CHECK(coloured.text({80, true}, 2) ==
        "  \x1b[1mA\x1b[0m  \x1b[1mB\x1b[0m\n  \x1b[32mx\x1b[0m  y\n");
}

}  // namespace
}  // namespace muster::cli
