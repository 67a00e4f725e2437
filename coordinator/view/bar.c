// See bar.h.
#include "coordinator/view/bar.h"

#include <string.h>

static const char letters[] = "FBOC<>=^";
_Static_assert(sizeof(letters) - 1 == PHASE_COUNT, "a letter for each phase");

enum phase bar_phase(char letter)
{
	const char *place = letter != '\0' ? strchr(letters, letter) : NULL;
	return place != NULL ? (enum phase)(place - letters) : PHASE_COUNT;
}

// Each part ends where the sum so far says, rounded: the whole is never longer or shorter than it should be by more than half a letter.
void bar_draw(const double share[PHASE_COUNT], uint32_t width, char *into)
{
	double sum = 0.0, so_far = 0.0;
	uint32_t at = 0;
	for (int i = 0; i < PHASE_COUNT; i++)
		sum += share[i];
	double scale = sum > 1.0 ? width / sum : width;
	for (int i = 0; i < PHASE_COUNT; i++) {
		so_far += share[i] * scale;
		for (; at < width && at + 0.5 < so_far; at++)
			into[at] = letters[i];
	}
	memset(into + at, '.', width - at);
	into[width] = '\0';
}
