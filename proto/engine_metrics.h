// What the metrics of prefill and decode servers have in common.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "proto/lynx.pb.h"
#include "proto/metric_families.h"
#include "runtime/metrics_server.h"
#include "runtime/status.h"

namespace lynx {

struct EngineServerOptions;

// Null if options.metrics_port says so. `text` is asked on the server's thread until its end.
absl::StatusOr<std::unique_ptr<MetricsServer>> StartMetricsServer(
    const EngineServerOptions& options, std::function<std::string()> text);

// Of the process, and the load that `info` tells, under names that all engines share. First of all
// families.
void AddEngineFamilies(const v1::ServerInfo& info, MetricFamilies* families);

// Sessions of either end of the data plane: DataServerStats, DataClientStats.
template <typename Stats>
void AddSessionFamilies(const Stats& stats, MetricFamilies* families) {
  const char kSessions[] = "lynx_transfer_sessions";
  const char kHelp[] = "Data sessions with peers; stuck: ended, but the GPU still uses memory";
  families->Gauge(kSessions, kHelp, stats.sessions_up, {{"state", "up"}});
  families->Gauge(kSessions, kHelp, stats.sessions_stuck, {{"state", "stuck"}});
  families->Counter("lynx_transfer_sessions_lost_total", "Data sessions that were up and broke",
                    stats.sessions_lost);
  families->Counter("lynx_transfer_sessions_evicted_total",
                    "Data sessions that gave way to another pair", stats.sessions_evicted);
}

}  // namespace lynx
