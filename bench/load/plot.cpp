#include "bench/load/plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "bench/load/expect.hpp"

namespace muster::load {

namespace {

constexpr double kWidth = 640, kHeight = 240, kLeft = 64, kRight = 12, kTop = 30, kBottom = 44;
constexpr double kPlotWidth = kWidth - kLeft - kRight, kPlotHeight = kHeight - kTop - kBottom;

std::string number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f", value);
  return text.data();
}

std::string text_at(double x, double y, const char* kind, const std::string& text) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" class=\"" + kind + "\">" +
         escaped(text) + "</text>\n";
}

std::string rule(double x1, double y1, double x2, double y2) {
  return "<line class=\"grid\" x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" +
         number(x2) + "\" y2=\"" + number(y2) + "\"/>\n";
}

std::string begin(const std::string& title) {
  return "<svg viewBox=\"0 0 " + number(kWidth) + " " + number(kHeight) +
         "\" role=\"img\" aria-label=\"" + escaped(title) + "\">\n" +
         text_at(kLeft, 18, "title", title);
}

std::string legend(const std::vector<std::string>& names) {
  std::string out;
  double x = kLeft;
  for (std::size_t i = 0; i < names.size(); ++i) {
    out += "<rect class=\"f" + std::to_string(i) + "\" x=\"" + number(x) + "\" y=\"" +
           number(kHeight - 13) + "\" width=\"10\" height=\"10\"/>\n" +
           text_at(x + 14, kHeight - 4, "legend", names[i]);
    x += 26 + 6.5 * static_cast<double>(names[i].size());
  }
  return out;
}

/// 1, 2 or 5 times a power of ten, so that about four steps reach `largest`.
double nice_step(double largest) {
  const double raw = std::max(largest, 1e-9) / 4;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (raw <= factor * power) return factor * power;
  return 10 * power;
}

std::string polyline(std::size_t series, const std::vector<std::pair<double, double>>& points) {
  std::string out = "<polyline class=\"s" + std::to_string(series) + "\" points=\"";
  for (const auto& [x, y] : points) out += number(x) + "," + number(y) + " ";
  return out + "\"/>\n";
}

}  // namespace

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
  }
  return out;
}

std::string line_plot(const std::string& title, const std::vector<double>& xs, const Label& x_label,
                      const std::vector<Line>& lines, const Label& y_label) {
  double largest = 0;
  for (const Line& line : lines)
    for (const double value : line.values) largest = std::max(largest, value);
  const double step = nice_step(largest);
  const double top = std::max(step, std::ceil(largest / step) * step);
  const double span = xs.empty() ? 1 : std::max(xs.back(), 1e-9);
  const auto x_of = [&](double x) { return kLeft + x / span * kPlotWidth; };
  const auto y_of = [&](double y) { return kTop + kPlotHeight * (1 - y / top); };
  std::string out = begin(title);
  for (double y = 0; y <= top * 1.001; y += step)
    out += rule(kLeft, y_of(y), kWidth - kRight, y_of(y)) +
           text_at(kLeft - 6, y_of(y) + 4, "y", y_label(y));
  const double x_step = nice_step(span);
  for (double x = 0; x <= span * 1.001; x += x_step)
    out += text_at(x_of(x), kHeight - kBottom + 16, "x", x_label(x));
  std::vector<std::string> names;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::vector<std::pair<double, double>> points;
    for (std::size_t at = 0; at < lines[i].values.size() && at < xs.size(); ++at)
      points.emplace_back(x_of(xs[at]), y_of(lines[i].values[at]));
    out += polyline(i, points);
    names.push_back(lines[i].name);
  }
  return out + legend(names) + "</svg>\n";
}

std::string percentile_plot(const std::string& title, const std::vector<Curve>& curves) {
  constexpr double kNines = 4;  // the right edge: 99.99 %
  std::uint64_t smallest = Histogram::kLargest, largest = 1;
  for (const Curve& curve : curves) {
    smallest = std::min(smallest, std::max<std::uint64_t>(1, curve.histogram->min()));
    largest = std::max(largest, curve.histogram->max());
  }
  const double low = std::floor(std::log10(static_cast<double>(std::min(smallest, largest))));
  const double high = std::max(low + 1, std::ceil(std::log10(static_cast<double>(largest))));
  const auto x_of = [&](double nines) { return kLeft + nines / kNines * kPlotWidth; };
  const auto y_of = [&](double micros) {
    return kTop + kPlotHeight * (1 - (std::log10(std::max(micros, 1.0)) - low) / (high - low));
  };
  std::string out = begin(title);
  for (double power = low; power <= high; ++power)
    out += rule(kLeft, y_of(std::pow(10, power)), kWidth - kRight, y_of(std::pow(10, power))) +
           text_at(kLeft - 6, y_of(std::pow(10, power)) + 4, "y",
                   amount_text(Unit::time, std::pow(10, power - 3)));
  const std::array<std::pair<double, const char*>, 6> marks{
      {{0, "0"}, {0.30103, "50%"}, {1, "90%"}, {2, "99%"}, {3, "99.9%"}, {3.9, "99.99%"}}};
  for (const auto& [nines, label] : marks)
    out += text_at(x_of(nines), kHeight - kBottom + 16, "x", label);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < curves.size(); ++i) {
    std::vector<std::pair<double, double>> points;
    for (double nines = 0; nines <= kNines; nines += 0.05) {
      const double percent = 100 * (1 - std::pow(10, -nines));
      points.emplace_back(x_of(nines),
                          y_of(static_cast<double>(curves[i].histogram->percentile(percent))));
    }
    out += polyline(i, points);
    names.push_back(curves[i].name);
  }
  return out + legend(names) + "</svg>\n";
}

}  // namespace muster::load
