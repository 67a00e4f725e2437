// See gradient_scale.h.
#include "coordinator/run/gradient_scale.h"

#include <math.h>

struct gradient_scale gradient_scale_of(const double *squares, uint32_t count, double loss_scale, double clipping)
{
	double sum = 0.0;
	for (uint32_t i = 0; i < count; i++)
		sum += squares[i];
	double norm = sqrt(sum) / loss_scale, coefficient = clipping > 0.0 ? clipping / (norm + 1e-6) : 1.0;
	return (struct gradient_scale){
		.overflow = !isfinite(sum), // of squares: nothing cancels
		.norm = norm,
		.scale = (coefficient < 1.0 ? coefficient : 1.0) / loss_scale,
	};
}
