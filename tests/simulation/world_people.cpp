// Clients with idempotency keys, and hosts with channels: both repeat until they are answered.
#include "tests/simulation/world_people.hpp"

namespace muster::sim {

namespace {

constexpr std::int64_t kBalance = 1'000;

}  // namespace

void World::start_people() {
  const std::int64_t clients = scheduler_.between(1, 8);
  for (std::int64_t i = 0; i < clients; ++i) {
    clients_.push_back(std::make_unique<Client>());
    clients_.back()->name = "client" + std::to_string(i);
    clients_.back()->left = static_cast<int>(scheduler_.between(2, 10));
  }
  const std::int64_t channels = scheduler_.between(0, 2);
  for (std::int64_t i = 0; i < channels; ++i) {
    channels_.push_back(std::make_unique<Channel>());
    Channel& channel = *channels_.back();
    channel.name = "host" + std::to_string(i);
    channel.account = accounts_[static_cast<std::size_t>(i) % accounts_.size()];
    channel.last = static_cast<std::uint64_t>(scheduler_.between(1, 10));
  }
  operator_->left = static_cast<int>(scheduler_.between(0, 6));
  Client& first = *clients_.front();
  first.left += static_cast<int>(accounts_.size());
  next_operation(first);  // It opens the accounts; the others wait for that.
}

bool World::everybody_done() const {
  for (const auto& client : clients_)
    if (client->waiting || client->left > 0) return false;
  for (const auto& channel : channels_)
    if (channel->number <= channel->last) return false;
  return operator_->left == 0 && operator_->paused.empty() && !operator_->waiting;
}

void World::next_operation(Client& client) {
  Scheduler& s = scheduler_;
  client.waiting = false;
  if (client.left == 0) return;
  --client.left;
  client.waiting = true;
  client.call = {};
  client.call.key = draw_key(s);
  client.call.lane = s.chance(20) ? engine::Lane::operator_ : engine::Lane::normal;
  const auto pick = [&] {
    return accounts_[static_cast<std::size_t>(
        s.between(0, static_cast<std::int64_t>(accounts_.size()) - 1))];
  };
  if (opened_ < accounts_.size()) {
    client.operation = Operation::open;
    fbs::OpenT open;
    open.balance = kBalance;
    client.call.to = account_id(accounts_[opened_]);
    client.call.payload = Account::Messages::encode(open);
  } else {
    fbs::TransferT transfer;
    transfer.id = client.id = ++last_id_;
    transfer.to = pick();
    transfer.amount = s.between(1, 400);
    if (s.chance(40)) transfer.timer_ms = s.between(1, 30'000);
    transfer.ask = s.chance(40);
    transfer.poison = s.chance(10);
    client.operation = transfer.poison ? Operation::pay_poisoned : Operation::pay;
    client.call.to = account_id(pick());
    if (s.chance(5)) {
      client.operation = Operation::pay_ghost;
      client.call.to = account_id("ghost" + std::to_string(transfer.id));
    }
    client.paid.push_back({client.call.to.key, transfer.to, transfer.id, false});
    client.call.payload = Account::Messages::encode(transfer);
  }
  client.call.digest = "body of " + client.call.key;
  attempt(client);
}

void World::attempt(Client& client) {
  const std::uint64_t mine = ++client.attempts;
  const std::uint32_t shard = installation_.shard_of(client.call.to);
  installation_.post(shard, [this, &client, call = client.call, mine](engine::Shard& there) {
    there.call(call, [this, &client, call, mine](Result<std::string> answer) {
      if (!client.waiting || client.call.key != call.key) return;  // Answered already.
      if (is_final(answer)) {
        answered(client, answer);
      } else {
        retry_later(client, mine, scheduler_.between(50, 2'000));
      }
    });
  });
  retry_later(client, mine, scheduler_.between(200, 10'000));
}

/// The answer may be lost with the engine: nobody waits for ever.
void World::retry_later(Client& client, std::uint64_t attempt_number, std::int64_t ms) {
  scheduler_.post_after(Duration{ms}, "people/" + client.name, [this, &client, attempt_number] {
    if (client.waiting && client.attempts == attempt_number) attempt(client);
  });
}

void World::answered(Client& client, const Result<std::string>& answer) {
  client.waiting = false;
  check_answer(client, answer);
  client.history.emplace_back(client.call, answer);
  scheduler_.post("people/" + client.name, [this, &client] {
    if (scheduler_.chance(30)) ask_again(client, scheduler_.chance(70));
    next_operation(client);
  });
  // Between two of its operations it is not done yet.
  client.waiting = true;
  client.call.key.clear();
  ++client.attempts;
}

void World::check_answer(Client& client, const Result<std::string>& answer) {
  const auto is_error = [&](Errc code) { return !answer && answer.error().code == code; };
  switch (client.operation) {
    case Operation::open:
      if (!answer) throw Violation("open: " + answer.error().message);
      total_ += kBalance;
      if (++opened_ == accounts_.size()) {
        for (auto& other : clients_)
          if (other.get() != &client) next_operation(*other);
        for (auto& channel : channels_) next_note(*channel);
        next_command();
      }
      break;
    case Operation::pay:
      if (!answer && !is_error(Errc::refused)) throw Violation("pay: " + answer.error().message);
      client.paid.back().applied = answer.has_value();
      break;
    case Operation::pay_poisoned:
      if (answer || (!is_error(Errc::internal) && !is_error(Errc::refused)))
        throw Violation("a poisoned transfer was answered otherwise than as failed");
      if (is_error(Errc::internal)) ++dead_expected_;
      break;
    case Operation::pay_ghost:
      if (!is_error(Errc::not_found)) throw Violation("an account that does not exist has paid");
      ++dead_expected_;
      break;
  }
}

/// The same key again: the same answer; with another body: a conflict.
void World::ask_again(const Client& client, bool same_body) {
  const auto& [before, answer] = client.history[static_cast<std::size_t>(
      scheduler_.between(0, static_cast<std::int64_t>(client.history.size()) - 1))];
  engine::Call call = before;
  if (!same_body) call.digest += " changed";
  const std::uint32_t shard = installation_.shard_of(call.to);
  installation_.post(shard, [call, same_body, first = answer](engine::Shard& there) {
    there.call(call, [same_body, first](Result<std::string> again) {
      if (!is_final(again)) return;
      if (same_body && again != first) throw Violation("a repeat got another answer");
      if (!same_body && (again || again.error().code != Errc::key_reused))
        throw Violation("another body under the same key was taken");
    });
  });
}

void World::next_note(Channel& channel) {
  if (channel.number == 0) channel.number = 1;
  if (channel.number > channel.last) return;
  const std::uint64_t mine = ++channel.attempts;
  const auto again = [this, &channel, mine](std::int64_t ms) {
    scheduler_.post_after(Duration{ms}, "people/" + channel.name, [this, &channel, mine] {
      if (channel.attempts == mine) next_note(channel);
    });
  };
  fbs::NoteT note;
  note.channel = channel.name;
  note.number = channel.number;
  engine::ChannelMessage message{channel.name, note.number, account_id(channel.account),
                                 Account::Messages::encode(note)};
  const auto home = static_cast<std::uint32_t>(channel.name.back() - '0') %
                    installation_.shards();
  installation_.post(home, [this, message, &channel, again](engine::Shard& there) {
    there.deliver(message, [this, message, &channel, again](Result<void> taken) {
      if (taken && channel.number == message.number) {
        ++channel.number;
        ++channel.attempts;
        scheduler_.post("people/" + channel.name, [this, &channel] { next_note(channel); });
      } else if (!taken && taken.error().code == Errc::conflict) {
        throw Violation("channel: " + taken.error().message);
      } else if (!taken) {
        again(scheduler_.between(50, 2'000));
      }
    });
    if (scheduler_.chance(10)) {
      engine::ChannelMessage skipping = message;
      skipping.number += 2;
      there.deliver(skipping, [](Result<void> taken) {
        if (taken) throw Violation("a channel's gap was taken");
      });
    }
  });
  again(scheduler_.between(200, 10'000));
}

}  // namespace muster::sim
