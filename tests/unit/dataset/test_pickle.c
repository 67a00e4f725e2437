// The pickle reader: both forms of CIFAR-10's files, and everything else, which it must refuse with its place.
#include "tests/unit/cmocka_all.h"

#include "coordinator/dataset/pickle.h"
#include "tests/unit/dataset/pickles.h"

static void assert_holds(const struct pickle_text *text, unsigned images, unsigned first_label)
{
	struct pickle *pickle;
	struct error error = {0};
	if (!pickle_read(text->bytes, text->size, &pickle, &error))
		fail_msg("%s", error.message);
	const struct pickle_value *labels = pickle_get(pickle, pickle_root(pickle), "labels");
	const struct pickle_value *data = pickle_get(pickle, pickle_root(pickle), "data");
	assert_int_equal(labels->kind, PICKLE_LIST);
	assert_int_equal(labels->count, images);
	assert_int_equal(pickle_item(pickle, labels, images - 1)->integer, first_label + images - 1);
	assert_int_equal(data->kind, PICKLE_ARRAY);
	assert_int_equal(data->rows, images);
	assert_int_equal(data->columns, CIFAR_IMAGE_BYTES);
	for (unsigned n = 0; n < images; n++)
		for (unsigned i = 0; i < CIFAR_IMAGE_BYTES; i++)
			assert_int_equal(data->bytes[n * CIFAR_IMAGE_BYTES + i], pickle_pixel(n, i));
	assert_null(pickle_get(pickle, pickle_root(pickle), "nothing"));
	assert_null(pickle_get(pickle, labels, "labels"));
	pickle_destroy(pickle);
}

static void read_file_of_python_2_has_its_values(void **state)
{
	static struct pickle_text text;
	pickle_of_python2(&text, 3, 2);
	assert_holds(&text, 3, 2);
}

static void read_file_of_python_3_has_the_same_values(void **state)
{
	static struct pickle_text text;
	pickle_of_python3(&text, 3, 2);
	assert_holds(&text, 3, 2);
}

struct refused {
	const char *bytes, *expected;
	size_t size;
};
#define BAD(bytes, expected)                                                                                           \
	{                                                                                                              \
		bytes, expected, sizeof(bytes) - 1                                                                     \
	}
#define P "\x80\2"
static const struct refused refused[] = {
	BAD("", "is not a pickle of protocol 2"),
	BAD("PK", "is not a pickle of protocol 2"),
	BAD("\x80\4\x95", "is a pickle of protocol 4; CIFAR-10's files have protocol 2"),
	BAD(P, "byte 2 of the pickle: it is cut short"),
	BAD(P ".", "byte 2 of the pickle: it ends with more or less than one value"),
	BAD(P "NN.", "byte 4 of the pickle: it ends with more or less"),
	BAD(P "(.", "it ends with more or less than one value"),
	BAD(P "N.N", "byte 3 of the pickle: it ends before the file does"),
	BAD(P "cos\nsystem\n(U\4trueR.",
	    "byte 2 of the pickle: it names os.system; only arrays of numpy are read, and nothing is executed"),
	BAD(P "c__builtin__\neval\n.", "it names __builtin__.eval"),
	BAD(P "c\x1b[2J\n\x07\n.", "it names ?[2J.?;"),
	BAD(P "cnumpy\nndarray", "it names a function that is not one of numpy's"),
	BAD(P "N\x93.", "byte 3 of the pickle: opcode 0x93 (STACK_GLOBAL) is not used in CIFAR-10's files"),
	BAD(P "(i.", "opcode 0x69 (INST)"),
	BAD(P "\x81", "opcode 0x81 (NEWOBJ)"),
	BAD(P "\xff", "opcode 0xff (unknown)"),
	BAD(P "U\5four", "byte 2 of the pickle: it is cut short"),
	BAD(P "T\xff\xff\xff\xff", "it is cut short"),
	BAD(P "X\0\0\0", "it is cut short"),
	BAD(P "h\0.", "it fetches a value that it has not stored"),
	BAD(P "Nq\1h\2.", "it fetches a value that it has not stored"),
	BAD(P "q\1.", "it takes a value from an empty stack"),
	BAD(P "Nr\xff\xff\xff\xff.", "it stores more values than the limit"),
	BAD(P "t.", "down to a mark, and the stack has no mark"),
	BAD(P "e.", "down to a mark, and the stack has no mark"),
	BAD(P "(N\x86.", "it puts a mark into a list"),
	BAD(P "\x85.", "it takes a value from an empty stack"),
	BAD(P "N(Ne.", "it puts values into a value that is not a list"),
	BAD(P "((Ne.", "it takes a value from an empty stack"),
	BAD(P "}(Nu.", "it puts a key without a value"),
	BAD(P "](NNu.", "it puts values into a value that is not a list or dictionary"),
	BAD(P "NNR.", "it calls a value that is not a function"),
	BAD(P "cnumpy\ndtype\n)R.", "its array is not of uint8"),
	BAD(P "cnumpy\ndtype\nU\2f4\x85R.", "its array is not of uint8"),
	BAD(P "cnumpy\nndarray\n)R.", "it calls a function with other values"),
	BAD(P "cnumpy.core.multiarray\n_reconstruct\n)R.", "it calls a function with other values"),
	BAD(P "c_codecs\nencode\nX\2\0\0\0\xc4\x80X\6\0\0\0latin1\x86R.", "it calls a function with other values"),
	BAD(P "c_codecs\nencode\nX\1\0\0\0\xc3X\6\0\0\0latin1\x86R.", "it calls a function with other values"),
	BAD(P "c_codecs\nencode\nX\1\0\0\0aX\3\0\0\0rot\x86R.", "it calls a function with other values"),
	BAD(P "NNb.", "it fills a value that is not an array"),
};

static void read_anything_else_is_refused_with_its_place(void **state)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct pickle *pickle = NULL;
		struct error error = {0};
		uint8_t *exact = malloc(refused[i].size + (refused[i].size == 0)); // so that a sanitizer sees its end
		memcpy(exact, refused[i].bytes, refused[i].size);
		bool read = pickle_read(exact, refused[i].size, &pickle, &error);
		if (read || strstr(error.message, refused[i].expected) == NULL)
			fail_msg("%zu: expected \"%s\", got \"%s\"", i, refused[i].expected, error.message);
		assert_int_equal(error.code, ERROR_USAGE);
		assert_null(pickle);
		free(exact);
	}
}

// An array's state that is not a table of bytes whose size is its shape's.
static void read_array_of_another_form_is_refused(void **state)
{
#define ARRAY "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\1b\x87R"
#define U1    "cnumpy\ndtype\nU\2u1\x85R"
	static const struct refused states[] = {
		BAD(P ARRAY "(K\1K\2K\3\x86" U1 "\x89U\5"
			    "12345tb.",
		    "another number of bytes than its shape"),
		BAD(P ARRAY "(K\1K\2K\3\x86" U1 "\x88U\6"
			    "123456tb.",
		    "in column-major order"),
		BAD(P ARRAY "(K\1K\6\x85" U1 "\x89U\6"
			    "123456tb.",
		    "not a table of bytes"),
		BAD(P ARRAY "(K\1K\2J\xff\xff\xff\xff\x86" U1 "\x89U\6"
			    "123456tb.",
		    "not a table of bytes"),
		BAD(P ARRAY "(K\1K\2K\3\x86N\x89U\6"
			    "123456tb.",
		    "not a table of bytes"),
		BAD(P ARRAY "(K\1K\2K\3\x86" U1 "\x89]tb.", "another number of bytes"),
		BAD(P ARRAY "Nb.", "not a table of bytes"),
	};
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		struct pickle *pickle = NULL;
		struct error error = {0};
		bool read = pickle_read((const uint8_t *)states[i].bytes, states[i].size, &pickle, &error);
		if (read || strstr(error.message, states[i].expected) == NULL)
			fail_msg("%zu: expected \"%s\", got \"%s\"", i, states[i].expected, error.message);
	}
}

// Every cut and every changed byte outside the pixels: read or refused, and never beyond the end.
static void read_damaged_file_never_reads_outside(void **state)
{
	static struct pickle_text good;
	unsigned refused_files = 0;
	pickle_of_python2(&good, 1, 0);
	for (size_t at = 0; at < 2 * good.size; at++) {
		if (at % good.size > 400 && at % good.size < good.size - 60)
			continue;
		size_t size = at < good.size ? good.size : at - good.size;
		uint8_t *bad = malloc(size + 1);
		memcpy(bad, good.bytes, size);
		if (at < good.size)
			bad[at] ^= (uint8_t)(1 + at % 255);
		struct pickle *pickle;
		struct error error = {0};
		if (pickle_read(bad, size, &pickle, &error))
			pickle_destroy(pickle);
		else
			refused_files++;
		free(bad);
	}
	assert_true(refused_files > 500);
}

static void read_more_values_than_the_bound_is_refused(void **state)
{
	enum { SIZE = 3 << 20 };
	uint8_t *bytes = malloc(SIZE);
	struct pickle *pickle;
	struct error error = {0};
	memset(bytes, 'N', SIZE);
	memcpy(bytes, P, 2);
	assert_false(pickle_read(bytes, SIZE, &pickle, &error));
	assert_non_null(strstr(error.message, "it has more values than the limit"));
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_file_of_python_2_has_its_values),
		cmocka_unit_test(read_file_of_python_3_has_the_same_values),
		cmocka_unit_test(read_anything_else_is_refused_with_its_place),
		cmocka_unit_test(read_array_of_another_form_is_refused),
		cmocka_unit_test(read_damaged_file_never_reads_outside),
		cmocka_unit_test(read_more_values_than_the_bound_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
