// Reservations never pass the cap, and a refusal has the numbers.
#include "tests/unit/cmocka_all.h"

#include <pthread.h>
#include <string.h>

#include "stage_server/session/ledger.h"

static void ledger_reserve_over_the_cap_is_refused_with_numbers(void **state)
{
	struct ledger *ledger = ledger_create(UINT64_C(1) << 30);
	struct error error;
	assert_true(ledger_reserve(ledger, UINT64_C(768) << 20, &error));
	assert_false(ledger_reserve(ledger, UINT64_C(512) << 20, &error));
	assert_int_equal(error.code, ERROR_OUT_OF_MEMORY);
	assert_non_null(strstr(error.message, "512.0 MiB"));
	assert_non_null(strstr(error.message, "256.0 MiB"));
	assert_non_null(strstr(error.message, "1.0 GiB"));
	assert_false(ledger_reserve(ledger, UINT64_MAX, &error));
	ledger_release(ledger, UINT64_C(768) << 20);
	assert_int_equal(ledger_used_bytes(ledger), 0);
	assert_true(ledger_reserve(ledger, UINT64_C(1) << 30, &error));
	ledger_destroy(ledger);
}

static void *reserve_and_release(void *ledger)
{
	uintptr_t refused = 0;
	for (int i = 0; i < 20000; i++) {
		if (!ledger_reserve(ledger, 60, NULL)) {
			refused++;
			continue;
		}
		if (ledger_used_bytes(ledger) > 100)
			return (void *)UINTPTR_MAX;
		ledger_release(ledger, 60);
	}
	return (void *)refused;
}

static void ledger_reserve_from_two_threads_never_passes_the_cap(void **state)
{
	struct ledger *ledger = ledger_create(100);
	pthread_t threads[2];
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reserve_and_release, ledger), 0);
	for (int i = 0; i < 2; i++) {
		void *result;
		pthread_join(threads[i], &result);
		assert_true((uintptr_t)result <= 20000);
	}
	assert_int_equal(ledger_used_bytes(ledger), 0);
	ledger_destroy(ledger);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ledger_reserve_over_the_cap_is_refused_with_numbers),
		cmocka_unit_test(ledger_reserve_from_two_threads_never_passes_the_cap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
