// Who gets in, and to what: authentication by the head alone, then the scope. Every refusal is
// audited.
//
//   if (auto refused = gate.admit(request, pattern)) return *refused;     // fills in request.who
//   if (auto reaches = gate.reaches(request, pattern); !reaches) …        // may read committed
//   state
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "tools/musterd/audit_note.hpp"
#include "tools/musterd/http.hpp"
#include "tools/musterd/view.hpp"

namespace muster::musterd {

class Gate {
 public:
  using Identify = std::function<Result<Identity>(const Request&)>;

  Gate(Identify identify, Auditor audit, const View& view, std::string org)
      : identify_(std::move(identify)),
        audit_(std::move(audit)),
        view_(view),
        org_(std::move(org)) {}

  /// 401, or 403 when the role is not enough. `pattern` is the route's, "" for an unknown address.
  /// Does not block.
  std::optional<Response> admit(Request& request, const std::string& pattern) const;

  /// Errc::not_found for what the caller's scope does not cover, as if it did not exist; refused
  /// where only callers without a scope may go.
  Result<void> reaches(const Request& request, const std::string& pattern) const;

  /// Ends when its caller's token does.
  std::shared_ptr<BodyStream> guard(std::shared_ptr<BodyStream> stream,
                                    const Request& request) const;

  void note(const Request& request, const std::string& pattern, const std::string& outcome,
            const std::string& detail) const;

 private:
  Identify identify_;
  Auditor audit_;
  const View& view_;
  std::string org_;
};

}  // namespace muster::musterd
