// GPipe (Huang et al., "GPipe: efficient training of giant neural networks using pipeline parallelism", NeurIPS 2019,
// figure 2c): all forward passes, then all backward passes. Every micro-batch's activations are alive at once.
#include "common/schedule/internal.h"

void gpipe_generate(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batches)
{
	list->slots = micro_batches;
	for (uint32_t b = 0; b < micro_batches; b++)
		schedule_append_forward(list, stage, stages, b);
	for (uint32_t b = 0; b < micro_batches; b++)
		schedule_append_backward(list, stage, stages, b);
}
