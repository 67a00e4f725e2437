// GPipe: every forward, then every backward, so a stage keeps all m activations. Huang et al., "GPipe:
// Efficient training of giant neural networks using pipeline parallelism" (NeurIPS 2019). Backwards run 0 ..
// m-1, as in every schedule here (the paper's run m-1 .. 0; the time is the same).
#include "common/schedule/generator.h"

// `most` is not below micro_batches: schedule_create has seen to it.
void gpipe_generate(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batches, uint32_t most)
{
	list->slots = micro_batches;
	for (uint32_t b = 0; b < micro_batches; b++)
		generator_add_forward(list, stage, stages, b);
	for (uint32_t b = 0; b < micro_batches; b++)
		generator_add_backward(list, stage, stages, b);
}
