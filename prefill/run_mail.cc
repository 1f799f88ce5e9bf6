#include "prefill/run_mail.h"

#include <algorithm>

#include "proto/convert.h"

namespace lynx::prefill {
namespace {

// The largest encoding of honest messages: tag and varint of each field of a block id, its own tag
// and length.
constexpr size_t kMessageBytes = 32;  // everything outside the repeated part
constexpr size_t kBlockIdBytes = 2 + 3 * (1 + 5);

absl::Status TakeOne(int64_t* left, const char* what) {
  if (*left == 0) {
    return absl::InvalidArgumentError(absl::StrCat("unexpected message in a run: ", what));
  }
  --*left;
  return absl::OkStatus();
}

absl::Status CheckSize(const v1::DecodeToPrefill& message) {
  const int blocks = message.missing().blocks_size();
  if (blocks > kMissingBlocksMax) {
    return absl::InvalidArgumentError(absl::StrCat("one question for ", blocks,
                                                   " missing blocks; at most ", kMissingBlocksMax,
                                                   " are allowed"));
  }
  if (message.ByteSizeLong() > kMessageBytes + blocks * kBlockIdBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a message of ", message.ByteSizeLong(), " bytes in a run"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunMail::Add(v1::DecodeToPrefill message) {
  RETURN_IF_ERROR(CheckSize(message));
  switch (message.message_case()) {
    case v1::DecodeToPrefill::kGrant:
    case v1::DecodeToPrefill::kNotYet:
      RETURN_IF_ERROR(TakeOne(&grants_, "a grant that was not asked for"));
      break;
    case v1::DecodeToPrefill::kRawGrant:
      RETURN_IF_ERROR(TakeOne(&raw_grants_, "a raw grant that was not asked for"));
      break;
    case v1::DecodeToPrefill::kPromote:
      RETURN_IF_ERROR(TakeOne(&promotes_, "a second promote"));
      break;
    case v1::DecodeToPrefill::kDone:
      RETURN_IF_ERROR(TakeOne(&dones_, "a second done"));
      break;
    case v1::DecodeToPrefill::kMissing:
      AddMissing(std::move(message));
      return absl::OkStatus();
    case v1::DecodeToPrefill::kRun:
    case v1::DecodeToPrefill::MESSAGE_NOT_SET:
      return absl::InvalidArgumentError("unexpected message in a run: a request, or none");
  }
  letters_.push_back(std::move(message));
  return absl::OkStatus();
}

// Blocks that only the older question names have arrived meanwhile.
void RunMail::AddMissing(v1::DecodeToPrefill message) {
  auto older = std::find_if(letters_.begin(), letters_.end(),
                            [](const v1::DecodeToPrefill& m) { return m.has_missing(); });
  if (older != letters_.end()) {
    *older = std::move(message);
  } else {
    letters_.push_back(std::move(message));
  }
}

void RunMail::Told(const v1::PrefillToDecode& message) {
  grants_ += message.ready() ? 1 : 0;
  raw_grants_ += message.has_raw_pages() ? 1 : 0;
}

}  // namespace lynx::prefill
