// A journal as one readable string: "inbox a=1 b=2 | state x=9".
#pragma once

#include <string>

#include "storage/journal/journal.hpp"

namespace muster::testing {

inline std::string to_text(const storage::Journal& journal) {
  const std::string upper(8, '\xff');
  std::string text;
  for (std::size_t i = 0; i < storage::kFamilies; ++i) {
    const auto family = static_cast<storage::Family>(i);
    std::string rows;
    const auto scanned = journal.scan(family, "", upper, [&](auto key, auto value) {
      rows.append(" ").append(key).append("=").append(value);
      return true;
    });
    if (!scanned) return "error: " + std::string(to_string(scanned.error().code));
    if (rows.empty()) continue;
    if (!text.empty()) text += " | ";
    text.append(to_string(family)).append(rows);
  }
  return text;
}

inline storage::Batch put(storage::Family family, std::string key, std::string value) {
  storage::Batch batch;
  batch.put(family, std::move(key), std::move(value));
  return batch;
}

}  // namespace muster::testing
