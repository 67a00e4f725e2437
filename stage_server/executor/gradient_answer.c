// The coordinator's answer to a step's gradient norms: expected by the executor's thread, checked and put down by another, waited for.
#include <inttypes.h>
#include <math.h>

#include "common/base/strings.h"
#include "stage_server/executor/internal.h"

void executor_expect_answer(struct executor *executor)
{
	pthread_mutex_lock(&executor->lock);
	executor->answer_state = ANSWER_EXPECTED;
	pthread_mutex_unlock(&executor->lock);
}

bool executor_set_gradient_scale(struct executor *executor, const struct gradient_answer *answer, struct error *error)
{
	uint64_t step = answer->step;
	bool scaling = executor->plan->loss_scaling;
	bool sound = isfinite(answer->scale) && answer->scale >= 0 && (scaling || !answer->skip);
	if (scaling)
		sound = sound && isfinite(answer->next_loss_scale) && answer->next_loss_scale > 0 &&
			isfinite(answer->learning_rate) && answer->learning_rate >= 0;
	if (!sound)
		return error_set(error, ERROR_PROTOCOL,
				 "step %" PRIu64
				 ": a gradient scale of %g%s, next loss scale %g, learning rate %g came; they must be "
				 "finite and not negative, and %s",
				 step, strings_unsigned_nan((double)answer->scale),
				 answer->skip ? " that skips the step" : "",
				 strings_unsigned_nan((double)answer->next_loss_scale),
				 strings_unsigned_nan((double)answer->learning_rate),
				 scaling ? "the next loss scale above 0" : "without loss scaling no step is skipped");
	pthread_mutex_lock(&executor->lock);
	bool ok = executor->answer_state == ANSWER_EXPECTED && step == atomic_load(&executor->step);
	if (ok) {
		executor->answer = *answer;
		executor->answer_state = ANSWER_HERE;
		pthread_cond_signal(&executor->changed);
	}
	pthread_mutex_unlock(&executor->lock);
	return ok ||
	       error_set(error, ERROR_PROTOCOL, "a gradient scale for step %" PRIu64 ", which waits for none", step);
}

bool executor_wait_for_answer(struct executor *executor, struct gradient_answer *ret_answer)
{
	pthread_mutex_lock(&executor->lock);
	while (executor->answer_state != ANSWER_HERE && !atomic_load(&executor->stopped))
		pthread_cond_wait(&executor->changed, &executor->lock);
	bool set = executor->answer_state == ANSWER_HERE;
	if (set)
		*ret_answer = executor->answer;
	executor->answer_state = ANSWER_UNEXPECTED;
	pthread_mutex_unlock(&executor->lock);
	return set;
}
