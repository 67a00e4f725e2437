// Memory that is freed at once: pieces are zeros, aligned and apart, whatever their sizes; what is out of reach is remembered.
#include "tests/unit/cmocka_all.h"

#include <stdalign.h>
#include <string.h>

#include "common/wire/arena.h"

static void allocate_pieces_are_zeros_aligned_and_apart(void **state)
{
	struct arena *arena = arena_create();
	uint8_t *pieces[200];
	size_t sizes[200];
	for (size_t i = 0; i < 200; i++) {
		sizes[i] = i % 7 == 0 ? 30000 : i;
		pieces[i] = arena_allocate(arena, sizes[i]);
		assert_non_null(pieces[i]);
		assert_int_equal((uintptr_t)pieces[i] % alignof(max_align_t), 0);
		for (size_t k = 0; k < sizes[i]; k++)
			assert_int_equal(pieces[i][k], 0);
		memset(pieces[i], (int)i, sizes[i]);
	}
	for (size_t i = 0; i < 200; i++)
		for (size_t k = 0; k < sizes[i]; k++)
			assert_int_equal(pieces[i][k], (uint8_t)i);
	arena_destroy(arena);
	arena_destroy(NULL);
}

static void allocate_too_much_fails_and_stays_failed(void **state)
{
	struct arena *arena = arena_create();
	assert_null(arena_allocate(arena, SIZE_MAX));
	assert_true(arena->failed);
	assert_null(arena_allocate(arena, 1));
	arena_destroy(arena);
}

static void init_first_bytes_come_from_the_caller(void **state)
{
	alignas(max_align_t) uint8_t first[64];
	struct arena arena;
	arena_init(&arena, first, sizeof(first));
	assert_ptr_equal(arena_allocate(&arena, 40), first);
	assert_ptr_not_equal(arena_allocate(&arena, 40), first + 48);
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(allocate_pieces_are_zeros_aligned_and_apart),
		cmocka_unit_test(allocate_too_much_fails_and_stays_failed),
		cmocka_unit_test(init_first_bytes_come_from_the_caller),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
