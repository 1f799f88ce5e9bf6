#include "config/field_list.h"

namespace lynx {
namespace {

void AddScheduling(TransferConfig& c, FieldList& list) {
  list.Int("transfer.residual_max_wait_ms", &c.residual_max_wait_ms, 0, kMaxMillis,
           "How long a request's Residual may be held up by other requests' Anchors, in all. "
           "Smaller: committed tokens come sooner under load; larger: first drafts do.");
  list.Real("transfer.link_rate_mbit", &c.link_rate_mbit, 0.0, 1e6,
            "Limits what a prefill server sends, to emulate a slow link or leave room on a shared "
            "one, in Mbit/s. 0: no limit.");
  list.Int("transfer.rate_burst_ms", &c.rate_burst_ms, 0, 1000,
           "How much of the limited rate may be caught up after a late wake-up.");
  list.Int("transfer.frame_time_ms", &c.frame_time_ms, 1, 1000,
           "Frames last about so long on the link. Shorter: an Anchor waits less behind a "
           "Residual; longer: fewer headers and system calls.");
  list.Int("transfer.min_frame_kib", &c.min_frame_kib, 1, 65536,
           "No frame is smaller, however slow the link, unless there is no more to send.");
  list.Int("transfer.max_frame_kib", &c.max_frame_kib, 1, 65536,
           "No frame is larger, however fast the link. At least min_frame_kib.");
  list.Int("transfer.max_residual_frames_in_flight", &c.max_residual_frames_in_flight, 1, 64,
           "More keeps fast links busy; an Anchor waits for all of them.");
}

void AddSockets(TransferConfig& c, FieldList& list) {
  list.Int("transfer.anchor_dscp", &c.anchor_dscp, 0, 63,
           "Differentiated services code point of Anchors (34: AF41). A network that ignores it "
           "loses nothing.");
  list.Int("transfer.residual_dscp", &c.residual_dscp, 0, 63,
           "The same of Residuals (1: LE, lower effort).");
  list.Int("transfer.notsent_lowat_kib", &c.notsent_lowat_kib, 1, 65536,
           "Unsent data that the kernel may hold for a connection. Smaller: an Anchor waits for "
           "less; larger: fewer wake-ups.");
  list.Int("transfer.receive_buffer_kib", &c.receive_buffer_kib, 0, 1 << 20,
           "The kernel's, of each connection. 0: it tunes the size itself.");
}

void AddTimes(TransferConfig& c, FieldList& list) {
  list.Int("transfer.connect_timeout_s", &c.connect_timeout_s, 1, 3600, "For a TCP connection.");
  list.Int("transfer.handshake_timeout_s", &c.handshake_timeout_s, 1, 3600,
           "For the ticket to be shown and accepted.");
  list.Int("transfer.stall_timeout_s", &c.stall_timeout_s, 1, 3600,
           "A frame that moves no byte for so long ends its connection.");
  list.Int("transfer.frame_timeout_s", &c.frame_timeout_s, 1, 3600,
           "A frame that takes longer in all ends its connection.");
  list.Int("transfer.dead_peer_timeout_s", &c.dead_peer_timeout_s, 1, 3600,
           "A peer that vanished without a word is given up after it.");
  list.Int("transfer.stalled_after_ms", &c.stalled_after_ms, 1, kMaxMillis,
           "A peer that took nothing for so long does not hold up other peers' Residuals.");
  list.Int("transfer.ticket_lifetime_s", &c.ticket_lifetime_s, 1, 3600,
           "For a decode server to open its data connections after joining.");
}

void AddNccl(NcclConfig& c, FieldList& list) {
  list.Int("transfer.nccl.anchor_traffic_class", &c.anchor_traffic_class, -1, 255,
           "Service class of Anchors on InfiniBand and RoCE, written to SL and TC. -1: NCCL's own "
           "choice. The same on both sides.");
  list.Int("transfer.nccl.residual_traffic_class", &c.residual_traffic_class, -1, 255,
           "The same of Residuals.");
  list.Int("transfer.nccl.max_ctas", &c.max_ctas, 1, 64,
           "Thread blocks of one operation. Fewer leave more of the GPU to the model; more are "
           "faster.");
  list.Int("transfer.nccl.channels_per_peer", &c.channels_per_peer, 1, 64,
           "NCCL's nChannelsPerNetPeer. More use more of a fast network.");
  list.Int("transfer.nccl.operations_in_flight", &c.operations_in_flight, 1, 64,
           "Of each stream of a pair. 2 hide the time of announcing; more make an Anchor wait.");
  list.Int("transfer.nccl.max_operation_mib", &c.max_operation_mib, 1, 64,
           "What a decode server takes in one operation, and keeps a buffer of in GPU memory. At "
           "least transfer.max_frame_kib.");
  list.Bool(
      "transfer.nccl.checksums", &c.checksums,
      "Whether a decode server checks payloads, and asks again for what came damaged; prefill "
      "servers follow it. Both ends then read them once more from GPU memory. Not needed "
      "where the network checks its packets, as NVLink, PCIe, InfiniBand and TCP do.");
  list.Int(
      "transfer.nccl.max_pairs", &c.max_pairs, 1, 1024,
      "Peers connected at a time; each takes about 100 MB of GPU memory, which must be free at "
      "start. Beyond it the one that was used the longest ago gives way, if no request uses it.");
  list.Int("transfer.nccl.evict_idle_after_s", &c.evict_idle_after_s, 1, kMaxSeconds,
           "Only peers that have been idle for so long give way to others.");
  list.Int("transfer.nccl.init_timeout_s", &c.init_timeout_s, 1, 3600, "To connect a peer.");
  list.Int("transfer.nccl.operation_timeout_s", &c.operation_timeout_s, 1, 3600,
           "An operation that takes longer ends its pair.");
  list.Int("transfer.nccl.abort_timeout_s", &c.abort_timeout_s, 1, 3600,
           "After a failure, to revoke a pair, and then for the GPU to let go. A process whose GPU "
           "does not exits with an error when it shuts down.");
}

}  // namespace

void AddTransferFields(TransferConfig& c, FieldList& list) {
  list.Choice("transfer.channel", &c.channel, {"auto", "tcp", "nccl"},
              "What KV travels over; the same at prefill and decode servers. auto: nccl where the "
              "role computes on a GPU and libnccl.so.2 can be loaded, else tcp. nccl: from GPU "
              "memory to GPU memory. tcp: through host memory.");
  AddScheduling(c, list);
  AddNccl(c.nccl, list);
  AddSockets(c, list);
  AddTimes(c, list);
  list.Int("transfer.max_sessions", &c.max_sessions, 1, 65536, "Peers of one server.");
  list.Int("transfer.max_unknown_connections", &c.max_unknown_connections, 1, 65536,
           "Connections that have not shown a ticket yet; more are closed at once.");
}

}  // namespace lynx
