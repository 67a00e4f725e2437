// Which kernels a layer may use is asked in the same words wherever the model is cut, with any number of slots, with and
// without recomputation: so one answer holds for a layer, whatever stage it is in. A question that is new adds a line to the
// tuning file.
#include <sys/stat.h>

#include "tests/unit/device/suite.h"

enum { N = 4 };

static int64_t file_bytes(const struct harness *harness)
{
	char path[128];
	struct stat status;
	snprintf(path, sizeof(path), "%s/tuning", harness->folder);
	assert_int_equal(stat(path, &status), 0);
	return (int64_t)status.st_size;
}

static void settle(struct harness *harness, const struct program_spec *spec)
{
	struct error error = {0};
	struct program *program = NULL;
	harness_check(harness->ops->program_create(harness->device, spec, &program, &error), error);
	harness_check(harness->ops->program_allocate(program, &error), error);
	harness->ops->program_destroy(program);
}

static void questions_do_not_depend_on_the_stage(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	struct model model;
	harness_small_model(0.5f, &model);
	struct program_spec spec = harness_spec(&model, 0, model.layer_count, N);
	settle(harness, &spec);
	int64_t whole = file_bytes(harness);
	assert_true(whole > 0);
	for (uint32_t cut = 1; cut < model.layer_count; cut++)
		for (uint32_t part = 0; part < 2; part++) {
			spec.first_layer = part == 0 ? 0 : cut;
			spec.end_layer = part == 0 ? cut : model.layer_count;
			spec.slots = 1 + cut % 3;
			spec.checkpoint_interval = cut % 4;
			spec.replicas = cut % 2 == 1;
			settle(harness, &spec);
			if (file_bytes(harness) != whole)
				fail_msg("layers %u to %u ask what the whole model did not", spec.first_layer,
					 spec.end_layer - 1);
		}
	harness_close(harness);
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(questions_do_not_depend_on_the_stage),
	};
	return suite_run("questions", cases, sizeof(cases) / sizeof(cases[0]));
}
