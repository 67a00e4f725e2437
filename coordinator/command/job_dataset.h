// The dataset that a command's --dataset names. One thread.
#pragma once

#include "common/base/error.h"
#include "coordinator/command/job_arguments.h"
#include "coordinator/dataset/dataset.h"

// Opens it. Without --classes the arguments get as many as the dataset has; otherwise those must be enough for its labels.
bool job_dataset_open(struct job_arguments *arguments, struct dataset **ret_dataset, struct error *error);
