// The CPU device: oneDNN for convolutions and pooling, a matrix product for linear layers, own loops for the rest.
#pragma once

#include "stage_server/device/device.h"

extern const struct device_ops cpu_device_ops;
