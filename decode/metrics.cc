#include "decode/metrics.h"

#include "proto/engine_metrics.h"

namespace lynx::decode {
namespace {

// Requests by where they are, and how they came and went.
void AddRequests(const EngineStats& engine, const EngineMeasures& m, MetricFamilies* out) {
  static constexpr const char* kStates[] = {"waiting", "drafting", "verifying", "decoding"};
  for (size_t i = 0; i < engine.by_state.size(); ++i) {
    out->Gauge("lynx_decode_requests", "Open requests by state", engine.by_state[i],
               {{"state", kStates[i]}});
  }
  out->Counter("lynx_decode_requests_admitted_total", "Requests taken into the queue", m.admitted);
  const char kRefused[] = "lynx_decode_requests_refused_total";
  const char kRefusedHelp[] = "Requests refused at once, by reason";
  out->Counter(kRefused, kRefusedHelp, m.refused_full, {{"reason", "queue_full"}});
  out->Counter(kRefused, kRefusedHelp, m.refused_draining, {{"reason", "draining"}});
  out->Counter(kRefused, kRefusedHelp, m.refused_invalid, {{"reason", "invalid"}});
  const char kFinished[] = "lynx_decode_requests_finished_total";
  const char kFinishedHelp[] = "Requests that ended well, by reason";
  out->Counter(kFinished, kFinishedHelp, m.finished_stop, {{"reason", "stop"}});
  out->Counter(kFinished, kFinishedHelp, m.finished_length, {{"reason", "length"}});
  out->Counter("lynx_decode_requests_cancelled_total",
               "Requests whose client cancelled, left or did not keep up", m.cancelled);
  const char kFailed[] = "lynx_decode_requests_failed_total";
  const char kFailedHelp[] = "Requests that failed, by reason";
  out->Counter(kFailed, kFailedHelp, m.failed_deadline, {{"reason", "deadline"}});
  out->Counter(kFailed, kFailedHelp, m.failed_prefill, {{"reason", "prefill"}});
  out->Counter(kFailed, kFailedHelp, m.failed_internal, {{"reason", "internal"}});
}

void AddTimes(const EngineMeasures& m, MetricFamilies* out) {
  out->Histogram("lynx_request_queue_time_seconds", "Submission to the grant of KV memory",
                 m.queue_s);
  out->Histogram("lynx_request_prefill_time_seconds", "Grant to the first token", m.prefill_s);
  out->Histogram("lynx_request_decode_time_seconds", "First token to the last", m.decode_s);
  out->Histogram("lynx_decode_prefill_ready_seconds",
                 "Start of an attempt to the prefill server's `ready`", m.ready_wait_s);
  out->Histogram("lynx_decode_anchor_complete_seconds", "Grant to the Anchor's last block",
                 m.anchor_s);
  out->Histogram("lynx_decode_target_complete_seconds",
                 "Grant to the last block of all (Residual, Tail), restored", m.target_s);
  out->Histogram("lynx_decode_first_token_seconds", "Submission to the first token",
                 m.first_token_s);
  out->Histogram("lynx_decode_second_token_provisional_seconds",
                 "Submission to the second token, drafted or committed", m.second_provisional_s);
  out->Histogram("lynx_decode_second_token_committed_seconds",
                 "Submission to the second token, committed", m.second_committed_s);
}

void AddTokens(const EngineStats& engine, const EngineMeasures& m, MetricFamilies* out) {
  out->Counter("lynx_decode_generated_tokens_total", "Tokens committed", engine.generated_tokens);
  out->Counter("lynx_decode_drafted_tokens_total", "Tokens drafted on the Anchor", engine.drafted);
  out->Counter("lynx_decode_accepted_tokens_total", "Drafted tokens that were committed",
               engine.accepted);
  out->Counter("lynx_decode_rolled_back_tokens_total", "Drafted tokens that were taken back",
               engine.rolled_back);
  out->Counter("lynx_decode_verifications_total", "Verifications of a request's drafts",
               m.verifications);
  out->Counter("lynx_decode_passes_total", "Passes of the model", engine.steps);
  out->Histogram("lynx_decode_pass_seconds", "Duration of a pass, sampling included", m.pass_s);
  out->Histogram("lynx_decode_pass_rows", "Query rows of a pass", m.pass_rows);
  const char kRows[] = "lynx_decode_rows_total";
  const char kRowsHelp[] = "Query rows of all passes, by the state of their request";
  out->Counter(kRows, kRowsHelp, m.rows_drafting, {{"state", "drafting"}});
  out->Counter(kRows, kRowsHelp, m.rows_verifying, {{"state", "verifying"}});
  out->Counter(kRows, kRowsHelp, m.rows_decoding, {{"state", "decoding"}});
}

void AddAttempts(const MetricsSnapshot& now, MetricFamilies* out) {
  const EngineMeasures& m = now.measures;
  out->Counter("lynx_decode_prefill_attempts_total", "Attempts at prefill servers", m.attempts);
  const char kFailed[] = "lynx_decode_prefill_attempts_failed_total";
  const char kFailedHelp[] = "Attempts that failed, by reason";
  out->Counter(kFailed, kFailedHelp, m.attempts_unavailable, {{"reason", "unavailable"}});
  out->Counter(kFailed, kFailedHelp, m.attempts_full, {{"reason", "queue_full"}});
  out->Counter(kFailed, kFailedHelp, m.attempts_mismatched, {{"reason", "identity"}});
  out->Counter(kFailed, kFailedHelp, m.attempts_other, {{"reason", "other"}});
  out->Counter("lynx_decode_prefill_failovers_total", "Attempts at another server after a failure",
               m.failovers);
  const char kJoins[] = "lynx_decode_joins_total";
  const char kJoinsHelp[] = "Joins of prefill servers, by result";
  out->Counter(kJoins, kJoinsHelp, now.joins, {{"result", "ok"}});
  out->Counter(kJoins, kJoinsHelp, now.failed_joins, {{"result", "failed"}});
  out->Counter("lynx_decode_not_yet_total",
               "Prefill servers that were ready and told to wait for KV memory", m.not_yet);
  out->Counter("lynx_decode_gap_questions_total", "Lists of missing blocks that were asked for",
               m.gap_questions);
  out->Counter("lynx_decode_missing_blocks_total", "Blocks that were asked for again",
               m.missing_blocks);
  out->Counter("lynx_decode_promotions_total", "Residuals whose request had used up its drafts",
               m.promotions);
}

void AddReceiver(const ReceiverStats& receiver, MetricFamilies* out) {
  out->Counter("lynx_transfer_frames_received_total", "Frames that began to arrive",
               receiver.frames);
  for (size_t c = 0; c < receiver.bytes.size(); ++c) {
    out->Counter("lynx_transfer_received_bytes_total", "Payload that became present, by class",
                 receiver.bytes[c], {{"class", kBlockClassNames[c]}});
  }
  const std::pair<const char*, uint64_t> dropped[] = {
      {"bad_checksum", receiver.bad_payload_frames},
      {"bad_header", receiver.bad_headers},
      {"unknown_transfer", receiver.unknown_transfer_frames},
      {"stale_epoch", receiver.old_epoch_frames},
      {"wrong_session", receiver.wrong_session_frames},
      {"not_granted", receiver.not_granted_frames},
      {"cut", receiver.cut_frames}};
  for (const auto& [reason, frames] : dropped) {
    out->Counter("lynx_transfer_frames_dropped_total", "Frames whose payload was not used", frames,
                 {{"reason", reason}});
  }
  out->Counter("lynx_transfer_duplicate_blocks_total", "Blocks that came although they were there",
               receiver.duplicate_blocks);
  out->Gauge("lynx_transfer_transfers", "Transfers that have memory granted or offered",
             receiver.transfers);
}

}  // namespace

MetricFamilies MakeMetricFamilies(const MetricsSnapshot& now) {
  MetricFamilies out;
  AddEngineFamilies(now.info, &out);
  AddRequests(now.engine, now.measures, &out);
  AddTimes(now.measures, &out);
  AddTokens(now.engine, now.measures, &out);
  AddAttempts(now, &out);
  out.Gauge("lynx_decode_quarantined_transfers",
            "Ended transfers whose memory a frame is still landing in",
            now.engine.quarantined_transfers);
  out.Gauge("lynx_decode_quarantined_pages",
            "Pages of ended requests that a frame is still landing in",
            now.engine.quarantined_pages);
  AddReceiver(now.receiver, &out);
  AddSessionFamilies(now.data, &out);
  return out;
}

}  // namespace lynx::decode
