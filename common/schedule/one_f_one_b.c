// 1F1B: as many forwards as it takes the first gradient to come back, then one forward and one backward in
// turn, then the rest of the backwards. Stage s of p keeps min(m, p - s) activations. The bubble is GPipe's.
// Narayanan et al., "Memory-efficient pipeline-parallel DNN training" (ICML 2021), "PipeDream-Flush";
// DeepSpeed's TrainSchedule. With fewer in flight the warm-up is shorter, and the stage waits for gradients
// more often: the bubble grows.
#include "common/schedule/generator.h"

void one_f_one_b_generate(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batches,
			  uint32_t most)
{
	uint32_t behind = stages - stage; // forwards before the first backward
	list->slots = behind < micro_batches ? behind : micro_batches;
	list->slots = list->slots < most ? list->slots : most;
	for (uint32_t b = 0; b + 1 < list->slots; b++)
		generator_add_forward(list, stage, stages, b);
	for (uint32_t b = 0; b < micro_batches; b++) {
		if (b + list->slots <= micro_batches)
			generator_add_forward(list, stage, stages, b + list->slots - 1);
		generator_add_backward(list, stage, stages, b);
	}
}
