// A load test's report as one page that needs nothing else: style and plots (SVG) are in it. Pure.
#pragma once

#include <string>

#include "bench/load/report.hpp"

namespace muster::load {

std::string report_page(const Report& report);

}  // namespace muster::load
