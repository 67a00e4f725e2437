// See optimizer_check.h.
#include "common/model/optimizer_check.h"

#include <math.h>

#include "common/base/strings.h"

static bool is_from_zero(float value)
{
	return isfinite(value) && value >= 0;
}

bool optimizer_check(const struct optimizer *optimizer, struct error *error)
{
	if (!is_from_zero(optimizer->weight_decay))
		return error_set(error, ERROR_USAGE, "weight_decay is %g; it must be finite and not negative",
				 strings_unsigned_nan((double)optimizer->weight_decay));
	if (!is_from_zero(optimizer->epsilon))
		return error_set(error, ERROR_USAGE, "epsilon is %g; it must be finite and not negative",
				 strings_unsigned_nan((double)optimizer->epsilon));
	if (optimizer->kind == OPTIMIZER_LAMB &&
	    !(is_from_zero(optimizer->minimum_coefficient) && isfinite(optimizer->maximum_coefficient) &&
	      optimizer->minimum_coefficient <= optimizer->maximum_coefficient))
		return error_set(error, ERROR_USAGE,
				 "the coefficients are from %g to %g; they must be finite, not negative and in order",
				 strings_unsigned_nan((double)optimizer->minimum_coefficient),
				 strings_unsigned_nan((double)optimizer->maximum_coefficient));
	return isfinite(optimizer->dampening) || error_set(error, ERROR_USAGE, "dampening is %g; it must be finite",
							   strings_unsigned_nan((double)optimizer->dampening));
}

bool optimizer_check_step(enum optimizer_kind kind, float learning_rate, float beta1, float beta2, struct error *error)
{
	if (!is_from_zero(learning_rate))
		return error_set(error, ERROR_PROTOCOL, "the learning rate is %g; it must be finite and not negative",
				 strings_unsigned_nan((double)learning_rate));
	if (kind == OPTIMIZER_SGD)
		return is_from_zero(beta1) ||
		       error_set(error, ERROR_PROTOCOL, "the momentum is %g; it must be finite and not negative",
				 strings_unsigned_nan((double)beta1));
	if (!optimizer_has_betas(kind))
		return true;
	return (is_from_zero(beta1) && beta1 < 1 && is_from_zero(beta2) && beta2 < 1) ||
	       error_set(error, ERROR_PROTOCOL, "the betas are %.9g and %.9g; each must be from 0 to below 1",
			 strings_unsigned_nan((double)beta1), strings_unsigned_nan((double)beta2));
}
