// See job_dataset.h.
#include "coordinator/command/job_dataset.h"

#include "common/base/strings.h"

bool job_dataset_open(struct job_arguments *arguments, struct dataset **ret_dataset, struct error *error)
{
	struct dataset *dataset;
	if (arguments->dataset == NULL)
		return error_set(error, ERROR_USAGE,
				 "--dataset PATH is missing; penstock dataset synthesize DIR makes a small set");
	if (!dataset_open(arguments->dataset, arguments->image_size, &dataset, error))
		return false;
	if (arguments->classes > 0 && !dataset_check_classes(dataset, arguments->classes, error)) {
		dataset_close(dataset);
		return false;
	}
	if (arguments->classes == 0)
		arguments->classes = dataset_classes(dataset);
	*ret_dataset = dataset;
	return true;
}
