#include "engine/runtime/strands.hpp"

#include <caf/all.hpp>
#include <future>

namespace muster::engine {
namespace {

/// CAF copies messages; a task is shared instead.
struct TaskBox {
  std::shared_ptr<Task> task;
};

// Not false at first, and so not zero: mold 1.10.1 lays the read-only part of a program whose only thread-local data is
// zeros over a page that is not there, at some sizes, and the program does not load.
thread_local bool outside_of_tasks = true;

}  // namespace
}  // namespace muster::engine

// Never serialised: it stays in this process.
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(muster::engine::TaskBox)

namespace muster::engine {

namespace {

/// A class: of a function without further arguments CAF 0.17.6 dereferences a null pointer (which UBSan tells).
class StrandActor : public caf::event_based_actor {
 public:
  using caf::event_based_actor::event_based_actor;

  caf::behavior make_behavior() override {
    // An exception must not end the strand (CAF's default): a task that throws has broken an invariant of ours,
    // and going on without it could lose what was decided.
    set_exception_handler([](std::exception_ptr&) -> caf::error { std::terminate(); });
    return {[](const TaskBox& box) {
      outside_of_tasks = false;
      (*box.task)();
      outside_of_tasks = true;
    }};
  }
};

class CafStrand : public Strands::Strand {
 public:
  explicit CafStrand(caf::actor actor) : actor_(std::move(actor)) {}
  ~CafStrand() override { CafStrand::close(); }

  void post(Task task) override {
    caf::anon_send(actor_, TaskBox{std::make_shared<Task>(std::move(task))});
  }
  void post_after(Duration delay, Task task) override {
    caf::delayed_anon_send(actor_, delay, TaskBox{std::make_shared<Task>(std::move(task))});
  }
  void close() override {
    if (std::exchange(closed_, true)) return;
    // Shared, because who is woken may be gone before set_value() has ended.
    const auto drained = std::make_shared<std::promise<void>>();
    post([drained] { drained->set_value(); });
    drained->get_future().wait();
    caf::anon_send_exit(actor_, caf::exit_reason::user_shutdown);
  }

 private:
  caf::actor actor_;
  bool closed_ = false;
};

}  // namespace

struct Strands::System {
  explicit System(std::size_t threads) : system(configured(threads)) {}

  caf::actor_system_config& configured(std::size_t threads) {
    config.set("scheduler.max-threads", threads);
    config.set("scheduler.max-throughput", std::size_t{32});  // Unlimited by default in 0.17.6.
    // Stealing, the default, polls every 50 us for work: half of a busy musterd's processor time.
    config.set("scheduler.policy", caf::atom("sharing"));
    return config;
  }

  caf::actor_system_config config;
  caf::actor_system system;
};

Strands::Strands(std::size_t threads)
    : own_(std::make_unique<System>(threads)), system_(own_->system) {}
Strands::Strands(caf::actor_system& system) : system_(system) {}
Strands::~Strands() = default;

std::unique_ptr<Strands::Strand> Strands::pooled() {
  return std::make_unique<CafStrand>(system_.spawn<StrandActor>());
}
std::unique_ptr<Strands::Strand> Strands::detached() {
  return std::make_unique<CafStrand>(system_.spawn<StrandActor, caf::detached>());
}

bool Strands::inside() { return !outside_of_tasks; }

}  // namespace muster::engine
