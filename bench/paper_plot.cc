#include "bench/paper_plot.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"

namespace lynx::bench {
namespace {

constexpr double kLeft = 70, kWidth = 640, kTop = 60, kRowHeight = 44, kBottom = 50;

struct Mark {
  const char* label;
  const char* color;
  double PaperRow::*time;
};

constexpr Mark kMarks[] = {
    {"1st token", "#555555", &PaperRow::first_token_s},
    {"2nd provisional", "#d98200", &PaperRow::second_token_provisional_s},
    {"2nd committed", "#1f77b4", &PaperRow::second_token_committed_s},
    {"32nd committed", "#2ca02c", &PaperRow::token32_committed_s},
    {"64th committed", "#9467bd", &PaperRow::token64_committed_s},
};

// A round number of seconds between marks on the axis, with four to ten of them.
double AxisStep(double end) {
  const double power = std::pow(10.0, std::floor(std::log10(end)));
  for (double factor : {0.1, 0.2, 0.5}) {
    if (end / (power * factor) <= 10) return power * factor;
  }
  return power;
}

void AddText(std::string* svg, double x, double y, const char* anchor, const std::string& text) {
  absl::StrAppendFormat(svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y,
                        anchor, text);
}

void AddLegend(std::string* svg) {
  double x = kLeft;
  for (const Mark& mark : kMarks) {
    absl::StrAppendFormat(svg, "<circle cx=\"%.1f\" cy=\"36\" r=\"5\" fill=\"%s\"/>\n", x,
                          mark.color);
    AddText(svg, x + 9, 40, "start", mark.label);
    x += kWidth / std::size(kMarks);
  }
}

void AddAxis(std::string* svg, double end, double bottom) {
  const double step = AxisStep(end);
  for (int i = 0; i * step <= end; ++i) {
    const double x = kLeft + kWidth * i * step / end;
    absl::StrAppendFormat(
        svg, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#dddddd\"/>\n", x,
        kTop, x, bottom);
    AddText(svg, x, bottom + 16, "middle", absl::StrFormat("%g", i * step));
  }
  AddText(svg, kLeft + kWidth / 2, bottom + 36, "middle", "seconds since the request");
}

void AddRow(std::string* svg, const PaperRow& row, double end, double y) {
  AddText(svg, kLeft - 10, y + 4, "end", row.format);
  absl::StrAppendFormat(
      svg, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#999999\"/>\n", kLeft, y,
      kLeft + kWidth * row.token64_committed_s / end, y);
  for (const Mark& mark : kMarks) {
    const double seconds = row.*mark.time;
    absl::StrAppendFormat(
        svg,
        "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" fill=\"%s\"><title>%s: %.3f s</title></circle>\n",
        kLeft + kWidth * seconds / end, y, mark.color, mark.label, seconds);
  }
}

}  // namespace

std::string PlotPaperTable(const PaperTableOptions& options, const std::vector<PaperRow>& rows) {
  double end = 1e-6;
  for (const PaperRow& row : rows) end = std::max(end, 1.05 * row.token64_committed_s);
  const double bottom = kTop + kRowHeight * static_cast<double>(rows.size());
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" "
      "fill=\"white\"/>\n",
      kLeft + kWidth + 30, bottom + kBottom);
  const std::string link = options.link_bits_per_s > 0
                               ? absl::StrFormat("%g Mbit/s", options.link_bits_per_s / 1e6)
                               : std::string("loopback");
  AddText(&svg, kLeft, 18, "start",
          absl::StrFormat("When tokens are known: %d prompt tokens, %s, %d request(s) at once",
                          options.prompt_tokens, link, options.concurrency));
  AddLegend(&svg);
  AddAxis(&svg, end, bottom);
  double y = kTop + kRowHeight / 2;
  for (const PaperRow& row : rows) {
    AddRow(&svg, row, end, y);
    y += kRowHeight;
  }
  return svg + "</svg>\n";
}

}  // namespace lynx::bench
