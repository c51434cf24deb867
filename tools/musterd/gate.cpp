#include "tools/musterd/gate.hpp"

#include "tools/musterd/access.hpp"
#include "tools/musterd/problem.hpp"

namespace muster::musterd {
namespace {

constexpr std::size_t kMaxTarget = 512;  // Of a path in the audit log: it comes from outside.

class GuardedStream final : public BodyStream {
 public:
  GuardedStream(std::shared_ptr<BodyStream> inner, Gate::Identify identify, Request request)
      : inner_(std::move(inner)), identify_(std::move(identify)), request_(std::move(request)) {}

  Piece next() override {
    if (!identify_(request_)) return {"", true};
    return inner_->next();
  }
  void on_more(std::function<void()> wake) override { inner_->on_more(std::move(wake)); }
  [[nodiscard]] std::string heartbeat() const override { return inner_->heartbeat(); }

 private:
  std::shared_ptr<BodyStream> inner_;
  Gate::Identify identify_;
  Request request_;
};

Response unauthenticated(const Error& why) {
  static const ProblemKind kKind = {401, "unauthenticated", "Who asks is not known",
                                    "send a token that `musterd token create` made: MUSTER_TOKEN"};
  Response response = problem(kKind, Errc::refused, why.message);
  response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"muster\"");
  return response;
}

}  // namespace

std::optional<Response> Gate::admit(Request& request, const std::string& pattern) const {
  // What is not there is told to those who may see what is there.
  const Access access =
      pattern.empty() ? Access{Role::viewer, Reach::filtered} : access_of(request.method, pattern);
  auto who = identify_(request);
  if (who) request.who = std::move(*who);
  if (access.role <= request.who.role) return std::nullopt;
  if (!who) {
    note(request, pattern, "refused", who.error().message);
    return unauthenticated(who.error());
  }
  const std::string why = request.who.name + " is " + std::string(name_of(request.who.role)) +
                          ", and this needs " + std::string(name_of(access.role));
  note(request, pattern, "refused", why);
  return problem(kForbidden, Errc::refused, why);
}

namespace {

std::string upper_case(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

}  // namespace

Result<void> Gate::reaches(const Request& request, const std::string& pattern) const {
  const Scope& scope = request.who.scope;
  const Reach reach = access_of(request.method, pattern).reach;
  if (scope.whole() || reach == Reach::anybody) return {};
  const auto refuse = [&](Errc code, const std::string& why) -> Result<void> {
    note(request, pattern, "refused", why);
    return fail(code, why);
  };
  if (!scope.covers_org(org_))
    return refuse(Errc::not_found, "the token is for another organisation");
  if (reach == Reach::filtered || scope.fleets.empty()) return {};
  if (reach == Reach::installation)
    return refuse(Errc::refused, "the token is for some fleets only, and this concerns all");
  std::string fleet;
  std::string missing = "there is no fleet ";  // In View's own words: hidden is not there.
  if (reach == Reach::fleet) {
    fleet = request.params.at("name");
    missing += fleet;
  } else if (reach == Reach::run) {
    const std::string& selector = request.params.at("id");
    const std::size_t slash = selector.find('/');
    fleet = selector.substr(0, slash == std::string::npos ? 0 : slash);
    missing += fleet;
    if (fleet.empty()) {
      const auto id = view_.find_run(selector);
      if (!id && id.error().code == Errc::conflict)  // It names runs of any fleet.
        return fail(Errc::conflict, "several runs begin with " + upper_case(selector));
      const auto head =
          id ? view_.run_head(*id) : Result<fbs::RunHeadT>(tl::unexpected<Error>(id.error()));
      if (!head) return tl::unexpected<Error>(head.error());
      fleet = head->fleet;
      missing = "no run begins with " + upper_case(selector);
    }
  } else {
    const auto head = view_.pull(request.params.at("id"));
    if (!head) return tl::unexpected<Error>(head.error());
    fleet = head->fleet;
    missing = "there is no pull " + request.params.at("id");
  }
  if (scope.covers_fleet(fleet)) return {};
  return refuse(Errc::not_found, missing);
}

std::shared_ptr<BodyStream> Gate::guard(std::shared_ptr<BodyStream> stream,
                                        const Request& request) const {
  Request head = request;
  head.body.clear();
  return std::make_shared<GuardedStream>(std::move(stream), identify_, std::move(head));
}

void Gate::note(const Request& request, const std::string& pattern, const std::string& outcome,
                const std::string& detail) const {
  if (!audit_) return;
  audit_({request.who.name, request.who.how, request.peer.address,
          request.method.substr(0, 16) + " " + (pattern.empty() ? "(unknown)" : pattern),
          request.path.substr(0, kMaxTarget), outcome, detail.substr(0, kMaxTarget),
          request.header("Idempotency-Key").substr(0, 64)});
}

}  // namespace muster::musterd
