// The ledger: accounts that pay each other, clients that repeat what was not answered, a bank as the outside world, and
// operators, over an installation with faults. One seed decides everything. The sum of all accounts never changes, and
// every transfer that was answered as paid took place once.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/simulation/installation.hpp"
#include "tests/simulation/ledger.hpp"

namespace muster::sim {

inline engine::ActorId account_id(const std::string& key) {
  return {"sim", "account", key};
}

class World : Surroundings {
 public:
  World(std::uint64_t seed, Sabotage sabotage);
  ~World() override;

  /// Until everybody is done and nothing moves; then looks at the disks. Throws a Violation.
  void run();

  [[nodiscard]] std::uint64_t steps() const { return scheduler_.steps(); }
  [[nodiscard]] int crashes() const { return installation_.crashes(); }
  [[nodiscard]] std::size_t digest() const { return installation_.digest(); }
  [[nodiscard]] const std::string& story() const { return installation_.story(); }
  /// At most so many faults: to find the few that a failure needs.
  void limit_faults(int most) { most_faults_ = most; }

 private:
  struct Client;
  struct Channel;
  struct Operator;

  void perform(std::uint32_t shard, const engine::PendingEffect& effect) override;
  void changed(std::uint32_t, const std::vector<engine::Change>&) override {}

  // The people.
  void start_people();
  void next_operation(Client& client);
  void attempt(Client& client);
  void retry_later(Client& client, std::uint64_t attempt, std::int64_t ms);
  void answered(Client& client, const Result<std::string>& answer);
  void check_answer(Client& client, const Result<std::string>& answer);
  void ask_again(const Client& client, bool same_body);
  void next_note(Channel& channel);
  bool everybody_done() const;

  // The operator.
  void next_command();
  bool draw_letter(engine::OperatorCommand& command);
  void attempt_command();
  void retry_command(std::uint64_t attempt, std::int64_t ms);
  void end_command();
  void command_answered(const Result<std::string>& answer);

  // The end.
  void verify();
  [[nodiscard]] std::size_t audits(std::string_view action) const;
  void verify_letters();
  void verify_account(const std::string& key, std::int64_t& sum);

  Scheduler scheduler_;
  Installation installation_;
  std::vector<std::string> accounts_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Channel>> channels_;
  std::unique_ptr<Operator> operator_;
  std::set<std::string> bank_;
  std::size_t opened_ = 0;
  std::uint64_t last_id_ = 0;
  std::int64_t total_ = 0;
  std::size_t dead_expected_ = 0;
  std::int64_t until_fault_ = 1;
  int most_faults_ = 40;
};

}  // namespace muster::sim
