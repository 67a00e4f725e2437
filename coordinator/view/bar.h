// A stage's time as a row of letters, one for each part of it. One thread.
#pragma once

#include "coordinator/view/rates.h"

#define BAR_LEGEND                                                                                                     \
	"F forward  B backward  O optimizer  C copy\n"                                                                 \
	"waits for: < previous  > next  = replicas  ^ coordinator"

// What a letter of a bar stands for; PHASE_COUNT: none.
enum phase bar_phase(char letter);
// `width` letters and a zero. Shares that add up to more than 1 are drawn as parts of their sum.
void bar_draw(const double share[PHASE_COUNT], uint32_t width, char *into);
