// The config file's section as the gateway's own options.
#pragma once

#include "config/config.h"
#include "gateway/options.h"

namespace lynx {

// `config` is one that LoadConfig gave: what its ranges allow, GatewayOptions::Validate takes.
GatewayOptions GatewayOptionsFromConfig(const Config& config);

}  // namespace lynx
