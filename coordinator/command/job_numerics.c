// See job_numerics.h.
#include "coordinator/command/job_numerics.h"

bool job_numerics_open(const struct job_arguments *arguments, struct numerics **ret_numerics, struct error *error)
{
	if (arguments->numerics == NULL)
		return numerics_open_cache(ret_numerics, error);
	return numerics_open_file(arguments->numerics, ret_numerics, error) || error_wrap(error, "--numerics");
}
