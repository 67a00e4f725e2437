// See loss_scaler.h.
#include "coordinator/run/loss_scaler.h"

// It travels as a float, and its reciprocal multiplies gradients.
static const double largest_scale = 0x1p126;

void loss_scaler_init(struct loss_scaler *scaler, const struct loss_scaling *settings)
{
	*scaler = (struct loss_scaler){
		.settings = *settings, .scale = (double)(float)settings->scale, .hysteresis = settings->hysteresis};
}

static void lower(struct loss_scaler *scaler)
{
	if (scaler->settings.dynamic && scaler->hysteresis > 1) {
		scaler->hysteresis--;
	} else if (scaler->settings.dynamic && scaler->scale > scaler->settings.minimum) {
		scaler->scale /= 2;
		if (scaler->scale < scaler->settings.minimum)
			scaler->scale = scaler->settings.minimum;
	} else {
		scaler->stuck++;
	}
}

static void raise_if_stable(struct loss_scaler *scaler)
{
	const struct loss_scaling *settings = &scaler->settings;
	if (settings->consecutive_hysteresis)
		scaler->hysteresis = settings->hysteresis;
	// Steps without an overflow before this one: DeepSpeed doubles in the step after a whole window.
	uint64_t stable = scaler->steps - scaler->stable_since;
	if (stable == 0 || stable % settings->window != 0)
		return;
	scaler->hysteresis = settings->hysteresis;
	if (scaler->scale <= largest_scale / 2)
		scaler->scale *= 2;
}

void loss_scaler_update(struct loss_scaler *scaler, bool overflow)
{
	if (overflow) {
		lower(scaler);
		scaler->skipped++;
		scaler->stable_since = scaler->steps + 1;
	} else {
		scaler->stuck = 0;
		if (scaler->settings.dynamic)
			raise_if_stable(scaler);
	}
	scaler->steps++;
}
