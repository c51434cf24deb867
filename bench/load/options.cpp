#include "bench/load/options.hpp"

#include <CLI/CLI.hpp>
#include <functional>

#include "tools/musterd/version.hpp"

namespace muster::load {

namespace {

constexpr int kExitUsage = 2;

constexpr const char* kAbout =
    "Loads a musterd with simulated hosts that speak the real link protocol, and reports how it "
    "did.";

constexpr const char* kNotes =
    R"(Without --root or --url it starts a musterd of its own below /var/tmp, and removes it afterwards.
Everything but the hosts is real: the API, the journal, the scheduler, the link with mutual TLS, logs, and packs.

Examples:
  muster-load fleet --repos 500 --fleets 20 --hosts 40
  muster-load fleet --repos 500 --fleets 100 --agent exp:1s --log 4KiB --html load.html
  muster-load fleet --lose-every 10s --away uniform:5s..60s --storm-every 30s --slow 10%
  muster-load fleet --repos 50 --delivery pull_request --expect errors==0 --expect 'p99_total<5s'
  muster-load fleet --root / --repos 20 --fleets 2 --hosts 4      (a musterd on this machine)
  muster-load fleet --url https://muster.acme.dev:7412 --link muster.acme.dev:7411 --tls ./certificates

TIMES and SIZES are one value (2s, 4KiB), uniform:1s..5s, exp:2s (mean) or lognormal:2s,1.0 (median, sigma).

A changed run of --delivery none ends as delivered(not_pushed): its pack of random bytes is sent and stored like any
other, and nothing is pushed. With branch or pull_request, muster-load makes a small bare repository per run on this
machine (5,000 at most), and each changed run brings a real commit of its own, which musterd checks and pushes.

With --tls DIR the hosts take ca.pem, hosts/NAME.pem and hosts/NAME.key from DIR, NAME being load-1, load-2, …
as `musterd host add load-1` makes them. With --root muster-load makes them itself. Hosts stay listed as
unreachable afterwards.

Exit: 0; 1 an expectation failed, or errors happened; 2 usage; 6 unreachable; 124 time-out.)";

std::uint64_t number_or_throw(const std::string& name, Result<std::uint64_t> value) {
  if (!value) throw CLI::ValidationError(name, value.error().message);
  return *value;
}

/// An option whose text `parse` turns into a value, or refuses with its own words.
template <class T, class Parse>
CLI::Option* parsed(CLI::App& app, const std::string& name, const std::string& type, T& to,
                    Parse parse, const std::string& help) {
  return app
      .add_option_function<std::string>(
          name,
          [name, parse, &to](const std::string& text) {
            auto value = parse(text);
            if (!value) throw CLI::ValidationError(name, value.error().message);
            to = std::move(*value);
          },
          help)
      ->type_name(type);
}

void count(CLI::App& app, const std::string& name, std::uint32_t& to, std::uint32_t least,
           std::uint32_t most, const std::string& help) {
  app.add_option(name, to, help)->check(CLI::Range(least, most))->capture_default_str();
}

void duration(CLI::App& app, const std::string& name, Duration& to, const std::string& help) {
  app.add_option_function<std::string>(
         name,
         [name, &to](const std::string& text) {
           to = Duration{static_cast<std::int64_t>(number_or_throw(name, parse_millis(text)))};
         },
         help)
      ->type_name("DURATION");
}

void times(CLI::App& app, const std::string& name, Distribution& to, const std::string& otherwise,
           const std::string& help) {
  to = parse_times(otherwise).value();
  parsed(app, name, "TIMES", to, parse_times, help + " [" + otherwise + "]");
}

void sizes(CLI::App& app, const std::string& name, Distribution& to, const std::string& otherwise,
           const std::string& help) {
  to = parse_sizes(otherwise).value();
  parsed(app, name, "SIZES", to, parse_sizes, help + " [" + otherwise + "]");
}

void declare_work(CLI::App& app, Options& to) {
  count(app, "--repos", to.repositories, 1, kMaxRepositories, "Repositories of each fleet");
  count(app, "--fleets", to.fleets, 1, kMaxFleets, "Fleets");
  count(app, "--concurrency", to.concurrency, 0, kMaxRepositories,
        "Runs of a fleet at a time; 0: no limit");
  app.add_option("--waves", to.waves, "Waves of every fleet")
      ->delimiter(',')
      ->capture_default_str();
  count(app, "--attempts", to.attempts, 1, 20, "Attempts of a run, the first included");
  duration(app, "--every", to.every, "Pause between the starts of two fleets [0]");
  Workload& work = to.workload;
  times(app, "--provision", work.provision, "uniform:20ms..60ms", "Making a sandbox takes");
  times(app, "--agent", work.agent, "exp:500ms", "The agent takes");
  times(app, "--verify", work.verify, "exp:200ms", "Verification takes");
  sizes(app, "--log", work.log, "exp:8KiB", "Log of an attempt");
  sizes(app, "--pack", work.pack, "exp:2KiB", "Pack of a changed run, with --delivery none");
  parsed(app, "--unchanged", "SHARE", work.unchanged, parse_share,
         "Attempts that change nothing [10%]");
  parsed(app, "--failed", "SHARE", work.failed, parse_share,
         "Attempts that fail: in the agent, in verification, on the host alike [5%]");
  app.add_option("--delivery", to.delivery, "What happens to changes")
      ->check(CLI::IsMember({"none", "branch", "pull_request"}))
      ->capture_default_str();
  app.add_option("--seed", work.seed, "Decides fates, times and faults")->capture_default_str();
}

void declare_hosts(CLI::App& app, Options& to) {
  count(app, "--hosts", to.hosts, 1, kMaxHosts, "Simulated hosts");
  count(app, "--slots", to.slots, 1, kMaxSlots, "Slots of each host");
  Faults& faults = to.faults;
  duration(app, "--lose-every", faults.lose_every, "A host loses its power, on average so often");
  times(app, "--away", faults.away, "uniform:1s..60s", "A lost host comes back after");
  duration(app, "--storm-every", faults.storm_every, "All connections break at once, so often");
  parsed(app, "--slow", "SHARE", faults.slow_share, parse_share,
         "Hosts that time and again read nothing for a while");
  duration(app, "--slow-pause", faults.slow_pause, "How long such a while is [3s]");
  count(app, "--flood", to.flood, 0, kMaxFlood, "Clients that ask the API without a pause");
  duration(app, "--operate-every", to.operate_every,
           "An operator pauses and resumes a fleet, drains and uncordons a host, so often");
}

void declare_engine(CLI::App& app, Options& to) {
  app.add_option("--root", to.root, "A musterd on this machine, by its --root")->type_name("DIR");
  app.add_option("--url", to.url, "A musterd by its API: https://HOST:7412 or unix:/PATH")
      ->type_name("URL");
  app.add_option("--link", to.link, "Its address for hosts")->type_name("HOST:PORT");
  app.add_option("--tls", to.tls, "Where the hosts' certificates are")->type_name("DIR");
  app.add_option("--musterd", to.musterd, "The program for a musterd of its own")
      ->type_name("PATH");
  app.add_flag("--keep", to.keep, "Leave the own musterd's directory behind");
  app.add_option("--name", to.name, "The fleets are called NAME-1, NAME-2, …")->type_name("NAME");
  duration(app, "--timeout", to.timeout, "Give up after so long [30m]");
}

void declare_report(CLI::App& app, Options& to) {
  app.add_flag("--json", to.json, "The report as one line of JSON on stdout");
  app.add_option("--html", to.html, "The report as one page, too")->type_name("FILE");
  count(app, "--sample", to.sample, 0, 50'000, "Runs whose attempts are read for the phases");
  app.add_option_function<std::vector<std::string>>(
         "--expect",
         [&to](const std::vector<std::string>& texts) {
           for (const std::string& text : texts) {
             auto expected = parse_expectation(text);
             if (!expected) throw CLI::ValidationError("--expect", expected.error().message);
             to.expected.push_back(std::move(*expected));
           }
         },
         "A limit, such as 'p99_total<5s'; several may be given. muster-load metrics lists names")
      ->allow_extra_args(false)
      ->take_all()
      ->type_name("LIMIT");
}

std::string wrong(const Options& options) {
  if (options.runs() > kMaxRuns)
    return "--repos times --fleets is more than " + std::to_string(kMaxRuns);
  if (!options.root.empty() && !options.url.empty()) return "--root and --url exclude each other";
  if (!options.url.empty() && (options.link.empty() || options.tls.empty()))
    return "--url needs --link and --tls, too";
  if (options.delivery != "none" && !options.url.empty())
    return "--delivery " + options.delivery + " needs a musterd on this machine";
  if (options.delivery != "none" && options.runs() > kMaxRealRepositories)
    return "--delivery " + options.delivery + " makes real repositories, " +
           std::to_string(kMaxRealRepositories) + " at most";
  if (options.workload.unchanged + options.workload.failed > 1)
    return "--unchanged and --failed are more than all";
  return "";
}

void print_metrics() {
  for (const MetricName& metric : metric_names())
    std::printf("%-16s %s\n", metric.name.c_str(), metric.meaning.c_str());
}

}  // namespace

std::optional<Options> read_command_line(int argc, char** argv, int& status) {
  Options options;
  for (int i = 0; i < argc; ++i)
    options.command += (i == 0 ? "muster-load" : std::string(" ") + argv[i]);
  CLI::App app(kAbout, "muster-load");
  app.set_version_flag("--version", "muster-load " + std::string(musterd::kVersion));
  app.require_subcommand(1);
  auto* fleet = app.add_subcommand("fleet", "Fleets whose runs are played by simulated hosts");
  auto* metrics = app.add_subcommand("metrics", "What --expect can limit");
  declare_work(*fleet, options);
  declare_hosts(*fleet, options);
  declare_engine(*fleet, options);
  declare_report(*fleet, options);
  fleet->footer(kNotes);
  app.footer("Try: muster-load fleet --help");
  status = 0;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    status = app.exit(error) == 0 ? 0 : kExitUsage;
    return std::nullopt;
  }
  if (metrics->parsed()) {
    print_metrics();
    return std::nullopt;
  }
  if (const std::string why = wrong(options); !why.empty()) {
    std::fprintf(stderr, "error: %s\n", why.c_str());
    status = kExitUsage;
    return std::nullopt;
  }
  return options;
}

}  // namespace muster::load
