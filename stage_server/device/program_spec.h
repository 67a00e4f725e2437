// What must hold of a program's specification on every device; whoever wrote it may be wrong. Any thread.
#pragma once

#include "stage_server/device/device.h"

// `has_layer`: whether the device computes layers of the kind. ERROR_USAGE says which number, type or layer is none.
bool program_spec_check(const struct program_spec *spec, bool (*has_layer)(uint32_t kind), struct error *error);
// A step's momentum needs a buffer.
bool program_spec_check_step(const struct optimizer *optimizer, const struct optimizer_step *step, struct error *error);
