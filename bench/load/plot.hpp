// Small plots as SVG text: lines over time, percentiles of a histogram. Colours come from classes
// that the page's style sheet defines (s0, s1, …). Pure.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/load/histogram.hpp"

namespace muster::load {

using Label = std::function<std::string(double)>;

struct Line {
  std::string name;
  std::vector<double> values;  ///< One for each of the plot's xs.
};
/// Every line over the same xs; y begins at 0.
std::string line_plot(const std::string& title, const std::vector<double>& xs, const Label& x_label,
                      const std::vector<Line>& lines, const Label& y_label);

struct Curve {
  std::string name;
  const Histogram* histogram;
};
/// Time (logarithmic, from microseconds) over percentiles that thin out towards 100 %.
std::string percentile_plot(const std::string& title, const std::vector<Curve>& curves);

/// < > & " become entities; control characters blanks.
std::string escaped(const std::string& text);

}  // namespace muster::load
