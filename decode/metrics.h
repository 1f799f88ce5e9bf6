// The decode server's metrics, from the numbers that its parts keep.
#pragma once

#include "decode/engine.h"
#include "proto/lynx.pb.h"
#include "proto/metric_families.h"
#include "transfer/data_plane.h"
#include "transfer/receiver.h"

namespace lynx::decode {

struct MetricsSnapshot {
  v1::ServerInfo info;  // with its load
  EngineStats engine;
  const EngineMeasures& measures;
  ReceiverStats receiver;
  DataClientStats data;
  uint64_t joins = 0;
  uint64_t failed_joins = 0;
};

MetricFamilies MakeMetricFamilies(const MetricsSnapshot& now);

}  // namespace lynx::decode
