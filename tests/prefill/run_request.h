// A run as a decode server asks for it.
#pragma once

#include <string>

#include "proto/lynx.pb.h"

namespace lynx::prefill {

// Transfers of different numbers differ. Greedy, int8 as K5V4, no log-probabilities.
inline v1::RunRequest SomeRun(int number, int prompt_tokens) {
  v1::RunRequest run;
  run.set_transfer_id(std::string(15, 'x') + static_cast<char>('a' + number));
  run.set_epoch(1);
  for (int i = 0; i < prompt_tokens; ++i) run.add_prompt(3 + i);
  run.mutable_format()->set_target("int8");
  run.mutable_format()->set_k_bits(5);
  run.mutable_format()->set_v_bits(4);
  run.mutable_sampling()->set_top_p(1);
  run.mutable_sampling()->set_repetition_penalty(1);
  run.set_logprobs(-1);
  run.set_prompt_logprobs(-1);
  return run;
}

}  // namespace lynx::prefill
