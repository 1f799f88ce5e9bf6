// The prefill server's metrics, from the numbers that its parts keep.
#pragma once

#include "prefill/engine.h"
#include "proto/lynx.pb.h"
#include "proto/metric_families.h"
#include "transfer/data_plane.h"
#include "transfer/sender.h"

namespace lynx::prefill {

struct MetricsSnapshot {
  v1::ServerInfo info;  // with its load
  EngineStats engine;
  const EngineMeasures& measures;
  SenderStats sender;
  DataServerStats data;
};

MetricFamilies MakeMetricFamilies(const MetricsSnapshot& now);

}  // namespace lynx::prefill
