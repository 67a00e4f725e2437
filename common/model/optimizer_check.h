// Whether an optimizer can compute with the numbers that it is given: what a file, a command line or a peer says is checked where it enters.
// The ranges are PyTorch's. Any thread.
#pragma once

#include "common/base/error.h"
#include "common/model/optimizer.h"

// weight_decay and epsilon: finite, from 0. dampening: finite. Lamb's coefficients: finite, from 0, in order. Otherwise ERROR_USAGE, with the setting's name and value.
bool optimizer_check(const struct optimizer *optimizer, struct error *error);
// learning_rate: finite, from 0. SGD's momentum: finite, from 0. Betas: from 0 to below 1. Otherwise ERROR_PROTOCOL.
bool optimizer_check_step(enum optimizer_kind kind, float learning_rate, float beta1, float beta2, struct error *error);
