// A chooser that takes the fastest kernel of each question: what a coordinator does, for a program without a job.
#pragma once

#include "stage_server/device/device.h"

struct fastest;

// `file`: the times are kept there; NULL: in the cache folder.
bool fastest_create(const struct device_ops *ops, const struct device *device, const char *file,
		    struct fastest **ret_fastest, struct error *error);
void fastest_destroy(struct fastest *fastest); // takes NULL
const struct chooser *fastest_chooser(const struct fastest *fastest);
