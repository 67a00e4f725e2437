// cuDNN, cuBLASLt, NCCL and NVML are looked for when the daemon runs, so that one program serves machines with and without them.
// libraries.c defines the functions that this device calls, under the vendors' own names, and passes each call on.
// Looked for in the folders of $PENSTOCK_CUDA_LIBRARY_PATH (as PATH has them) and nowhere else where that is set; else, in this order: the
// loader's path, /usr/local/cuda/lib64 and targets/x86_64-linux/lib, and the lib folders of NVIDIA's Python wheels
// (site-packages/nvidia/*/lib, of the Python in $VIRTUAL_ENV and of the system's). NVML is the driver's, and in the loader's path.
#pragma once

#include <stdbool.h>

#include "common/base/error.h"

// Loads cuDNN and cuBLASLt, once a process; later calls give the first one's answer. ERROR_FAILED names the library, where it was looked for
// and what to install. Any thread.
bool libraries_load(struct error *error);
bool libraries_load_nccl(void); // false: there is none, or one older than 2.14
bool libraries_load_nvml(void); // false: the driver's library is not there; what it says stays unknown
