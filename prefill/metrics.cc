#include "prefill/metrics.h"

#include "proto/engine_metrics.h"

namespace lynx::prefill {
namespace {

// Runs by where they are, and how they came and went.
void AddRuns(const EngineStats& engine, const EngineMeasures& m, MetricFamilies* out) {
  static constexpr const char* kPhases[] = {"queued", "asked", "computing", "kept"};
  for (size_t i = 0; i < engine.by_phase.size(); ++i) {
    out->Gauge("lynx_prefill_runs",
               "Open runs by phase; kept: the first token is out, the blocks are kept for the peer",
               engine.by_phase[i], {{"phase", kPhases[i]}});
  }
  out->Counter("lynx_prefill_runs_admitted_total", "Runs taken into the queue", m.admitted);
  const char kRefused[] = "lynx_prefill_runs_refused_total";
  const char kRefusedHelp[] = "Runs refused at once, by reason";
  out->Counter(kRefused, kRefusedHelp, m.refused_full, {{"reason", "queue_full"}});
  out->Counter(kRefused, kRefusedHelp, m.refused_draining, {{"reason", "draining"}});
  out->Counter(kRefused, kRefusedHelp, m.refused_invalid, {{"reason", "invalid"}});
  out->Counter("lynx_prefill_runs_finished_total", "Runs whose peer has everything", m.finished);
  out->Counter("lynx_prefill_runs_cancelled_total", "Runs that their peer cancelled", m.cancelled);
  const char kFailed[] = "lynx_prefill_runs_failed_total";
  const char kFailedHelp[] = "Runs that failed, by reason";
  out->Counter(kFailed, kFailedHelp, m.failed_deadline, {{"reason", "deadline"}});
  out->Counter(kFailed, kFailedHelp, m.failed_unavailable, {{"reason", "session_lost"}});
  out->Counter(kFailed, kFailedHelp, m.failed_internal, {{"reason", "internal"}});
}

void AddWork(const EngineStats& engine, const EngineMeasures& m, MetricFamilies* out) {
  out->Histogram("lynx_prefill_queue_seconds", "Submission to the peer's grant", m.queue_s);
  out->Histogram("lynx_prefill_compute_seconds", "Grant to the first token", m.compute_s);
  out->Histogram("lynx_prefill_kept_seconds", "First token to the run's end, while blocks are kept",
                 m.kept_s);
  out->Counter("lynx_prefill_prompt_tokens_total", "Prompt tokens computed", engine.prompt_tokens);
  out->Gauge("lynx_prefill_prompt_tokens_outstanding",
             "Prompt tokens of open runs that are not computed yet", engine.tokens_outstanding);
  out->Counter("lynx_prefill_passes_total", "Passes of the model", engine.steps);
  out->Histogram("lynx_prefill_pass_seconds", "Duration of a pass, coding included", m.pass_s);
  out->Histogram("lynx_prefill_pass_rows", "Prompt tokens of a pass", m.pass_rows);
  out->Counter("lynx_prefill_not_yet_total",
               "Runs that were ready while their peer had no KV memory", m.not_yet);
  out->Counter("lynx_prefill_raw_pages_total",
               "Pages that could not be coded and were sent as BF16", m.raw_pages);
  out->Counter("lynx_prefill_missing_blocks_total", "Blocks that peers asked for again",
               m.missing_blocks);
}

void AddSender(const SenderStats& sender, MetricFamilies* out) {
  for (size_t c = 0; c < sender.bytes_sent.size(); ++c) {
    out->Counter("lynx_transfer_sent_bytes_total", "Payload handed to the wire, by class",
                 sender.bytes_sent[c], {{"class", kBlockClassNames[c]}});
  }
  for (size_t c = 0; c < sender.bytes_queued.size(); ++c) {
    out->Gauge("lynx_transfer_queued_bytes", "Payload that waits to be sent, by class",
               sender.bytes_queued[c], {{"class", kBlockClassNames[c]}});
  }
  out->Counter("lynx_transfer_frames_sent_total", "Frames handed to the wire", sender.frames_sent);
  out->Counter("lynx_transfer_blocks_resent_total", "Blocks that were sent again",
               sender.blocks_resent);
  out->Counter("lynx_transfer_residual_wait_seconds_total",
               "Time that Residuals were held up by others' Anchors, together",
               std::chrono::duration<double>(sender.residual_waited).count());
  out->Gauge("lynx_transfer_link_bytes_per_second", "Speed of the link, as measured last",
             sender.link_bytes_per_s);
  out->Gauge("lynx_transfer_transfers", "Transfers that have memory granted or offered",
             sender.transfers);
  out->Gauge("lynx_transfer_transfers_awaiting_release",
             "Ended transfers whose memory the wire still reads",
             sender.transfers_awaiting_release);
}

void AddDataServer(const DataServerStats& data, MetricFamilies* out) {
  out->Counter("lynx_transfer_connections_accepted_total", "Connections to the data port",
               data.accepted);
  const std::pair<const char*, uint64_t> refused[] = {{"stranger", data.refused_strangers},
                                                      {"ticket", data.refused_peers},
                                                      {"overload", data.refused_overload}};
  for (const auto& [reason, connections] : refused) {
    out->Counter("lynx_transfer_connections_refused_total", "Connections that were turned away",
                 connections, {{"reason", reason}});
  }
}

}  // namespace

MetricFamilies MakeMetricFamilies(const MetricsSnapshot& now) {
  MetricFamilies out;
  AddEngineFamilies(now.info, &out);
  AddRuns(now.engine, now.measures, &out);
  AddWork(now.engine, now.measures, &out);
  AddSender(now.sender, &out);
  AddSessionFamilies(now.data, &out);
  AddDataServer(now.data, &out);
  return out;
}

}  // namespace lynx::prefill
