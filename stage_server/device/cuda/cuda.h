// The CUDA device: NVIDIA GPUs through cuDNN, cuBLASLt and own kernels. A device is opened as "cuda" or "cuda:N"; the same GPU may
// be opened more than once.
#pragma once

#include "stage_server/device/device.h"

extern const struct device_ops cuda_device_ops;
