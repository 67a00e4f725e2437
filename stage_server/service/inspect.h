// What an administrator asks penstockd without starting it. The main thread, before there are others.
#pragma once

#include "stage_server/options/options.h"

// --check-config: whether what the options name is there and can be used. False with a message.
bool inspect_options(const struct daemon_options *options, struct error *error);
// --print-devices: on stdout, a line a device that this build and machine have, and why a kind has none.
void inspect_devices(const struct daemon_options *options);
