// 1F1B with a flush at the end of each step (Narayanan et al., "PipeDream: generalized pipeline parallelism for DNN
// training", SOSP 2019, section 3.2; "Memory-efficient pipeline-parallel DNN training", ICML 2021, section 2.2): a stage
// runs as many forward passes ahead as there are stages after it, then one backward for each forward. Stage s keeps the
// activations of at most p - s micro-batches.
#include "common/schedule/internal.h"

void one_f_one_b_generate(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batches)
{
	uint32_t ahead = stages - stage - 1; // forward passes before the first backward, besides its own
	if (ahead > micro_batches)
		ahead = micro_batches;
	list->slots = ahead + 1 < micro_batches ? ahead + 1 : micro_batches;
	for (uint32_t b = 0; b < ahead; b++)
		schedule_append_forward(list, stage, stages, b);
	for (uint32_t b = ahead; b < micro_batches; b++) {
		schedule_append_forward(list, stage, stages, b);
		schedule_append_backward(list, stage, stages, b - ahead);
	}
	for (uint32_t b = micro_batches - ahead; b < micro_batches; b++)
		schedule_append_backward(list, stage, stages, b);
}
