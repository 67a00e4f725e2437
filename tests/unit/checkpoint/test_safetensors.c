// The safetensors reader and writer: a round trip, a file of the format's own library, and files meant to do
// harm.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/checkpoint/safetensors.h"

static char folder[] = "/tmp/penstock-test-XXXXXX";
static char path[128];

static int make_folder(void **state)
{
	if (mkdtemp(folder) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/a.safetensors", folder);
	return 0;
}

static int remove_folder(void **state)
{
	char command[64];
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command) == 0 ? 0 : -1;
}

static void write_file(const void *bytes, size_t size)
{
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

#define WRITE_TEXT(text) write_file(text, sizeof(text) - 1) // a literal, with its NUL bytes

// A file of `header` and `data_bytes` zero bytes.
static void write_with_header(const char *header, size_t data_bytes)
{
	size_t length = strlen(header);
	uint8_t *bytes = calloc(1, 8 + length + data_bytes);
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)((uint64_t)length >> (8 * i));
	memcpy(bytes + 8, header, length);
	write_file(bytes, 8 + length + data_bytes);
	free(bytes);
}

// The tensor's values, until the next call.
static const float *read_values(const struct safetensors *file, const char *name)
{
	static float values[64];
	struct error error = {0};
	const struct safetensors_entry *entry = safetensors_find(file, name);
	assert_non_null(entry);
	assert_true(entry->count <= 64);
	if (!safetensors_read(file, entry, 0, entry->count, values, &error))
		fail_msg("%s", error.message);
	return values;
}

static void assert_refused(const char *expected)
{
	struct safetensors *file = NULL;
	struct error error = {0};
	bool opened = safetensors_open(path, &file, &error);
	if (opened)
		safetensors_close(file);
	if (opened || strstr(error.message, expected) == NULL)
		print_error("expected \"%s\", got \"%s\"\n", expected, opened ? "(opened)" : error.message);
	assert_false(opened);
	assert_null(file);
	assert_non_null(strstr(error.message, expected));
	assert_non_null(strstr(error.message, path));
	assert_int_equal(error.code, ERROR_USAGE);
	for (const char *c = error.message; *c != '\0'; c++)
		assert_true((unsigned char)*c >= 0x20);
}

static const struct safetensors_entry two_entries[2] = {
	{.name = "features.0.weight", .rank = 2, .dimensions = {3, 4}},
	{.name = "features.0.bias", .rank = 1, .dimensions = {3}},
};
static const float weights[12] = {1, -2, 3.5f, 0, 1e-30f, 6, 7, 8, 9, 10, 11, -12};
static const float biases[3] = {0.25f, 0.5f, -0.75f};

static void writer_parts_in_any_order_read_back(void **state)
{
	struct safetensors_writer *writer;
	struct error error = {0};
	assert_true(safetensors_writer_create(path, two_entries, 2, &writer, &error));
	assert_true(safetensors_writer_put(writer, 1, 0, biases, sizeof(biases), &error));
	assert_true(safetensors_writer_put(writer, 0, 20, weights + 5, sizeof(weights) - 20, &error));
	assert_int_equal(access(path, F_OK), -1); // not there before it is whole
	assert_true(safetensors_writer_put(writer, 0, 0, weights, 20, &error));
	assert_true(safetensors_writer_finish(writer, &error));

	struct safetensors *file;
	assert_true(safetensors_open(path, &file, &error));
	assert_int_equal(safetensors_count(file), 2);
	const struct safetensors_entry *weight = safetensors_find(file, "features.0.weight");
	const struct safetensors_entry *bias = safetensors_find(file, "features.0.bias");
	assert_non_null(weight);
	assert_non_null(bias);
	assert_null(safetensors_find(file, "features.0"));
	assert_int_equal(weight->rank, 2);
	assert_int_equal(weight->dimensions[0], 3);
	assert_int_equal(weight->dimensions[1], 4);
	assert_memory_equal(read_values(file, weight->name), weights, sizeof(weights));
	assert_memory_equal(read_values(file, bias->name), biases, sizeof(biases));
	assert_ptr_equal(safetensors_entry(file, 0), weight);
	safetensors_close(file);
}

static void writer_existing_file_is_replaced_only_when_whole(void **state)
{
	struct safetensors_writer *writer;
	struct error error = {0};
	write_file("old", 3);
	assert_true(safetensors_writer_create(path, two_entries, 2, &writer, &error));
	assert_true(safetensors_writer_put(writer, 1, 0, biases, sizeof(biases), &error));
	assert_false(safetensors_writer_finish(writer, &error)); // the weight never came
	assert_non_null(strstr(error.message, "features.0.weight got 0 of its 48 bytes"));

	assert_true(safetensors_writer_create(path, two_entries, 2, &writer, &error));
	safetensors_writer_abort(writer);
	safetensors_writer_abort(NULL);
	char kept[4] = {0};
	FILE *file = fopen(path, "rb");
	assert_int_equal(fread(kept, 1, 3, file), 3);
	fclose(file);
	assert_string_equal(kept, "old");
}

static void writer_put_outside_the_tensor_is_refused(void **state)
{
	struct safetensors_writer *writer;
	struct error error = {0};
	assert_true(safetensors_writer_create(path, two_entries, 2, &writer, &error));
	assert_false(safetensors_writer_put(writer, 1, 4, biases, sizeof(biases), &error));
	assert_non_null(strstr(error.message, "features.0.bias"));
	assert_false(safetensors_writer_put(writer, 1, UINT64_MAX, biases, 4, &error));
	assert_false(safetensors_writer_put(writer, 1, 0, biases, UINT64_MAX, &error));
	assert_false(safetensors_writer_put(writer, 2, 0, biases, 0, &error));
	safetensors_writer_abort(writer);
}

// A limit on the file's size fails where a full disk does.
static void writer_disk_full_leaves_no_file(void **state)
{
	unlink(path);
	struct rlimit before, small;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
	small = before;
	small.rlim_cur = 100000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	struct safetensors_entry large = {.name = "classifier.1.weight", .rank = 2, .dimensions = {1000, 1000}};
	struct safetensors_writer *writer = NULL;
	struct error error = {0};
	bool created = safetensors_writer_create(path, &large, 1, &writer, &error);
	setrlimit(RLIMIT_FSIZE, &before);
	signal(SIGXFSZ, handler);
	assert_false(created);
	assert_non_null(strstr(error.message, "no room for 3.8 MiB"));
	assert_int_equal(error.code, ERROR_FAILED);
	assert_int_equal(access(path, F_OK), -1);
}

static void writer_create_bad_request_is_refused(void **state)
{
	struct safetensors_writer *writer = NULL;
	struct error error = {0};
	assert_false(safetensors_writer_create("/proc/nowhere/x", two_entries, 2, &writer, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_false(safetensors_writer_create(folder, two_entries, 2, &writer, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	struct safetensors_entry twice[2] = {two_entries[0], two_entries[0]};
	assert_false(safetensors_writer_create(path, twice, 2, &writer, &error));
	assert_non_null(strstr(error.message, "features.0.weight appears twice"));
	struct safetensors_entry huge = {.name = "a", .rank = 2, .dimensions = {UINT64_C(1) << 40, UINT64_C(1) << 40}};
	assert_false(safetensors_writer_create(path, &huge, 1, &writer, &error));
	struct safetensors_entry not_utf8 = {.name = "\xff", .rank = 0};
	assert_false(safetensors_writer_create(path, &not_utf8, 1, &writer, &error));
	struct safetensors_entry endless = {.rank = 0};
	memset(endless.name, 'a', sizeof(endless.name));
	assert_false(safetensors_writer_create(path, &endless, 1, &writer, &error));
	assert_null(writer);
}

static void writer_second_one_of_a_file_is_refused(void **state)
{
	struct safetensors_writer *writer, *second = NULL;
	struct error error = {0};
	assert_true(safetensors_writer_create(path, two_entries, 2, &writer, &error));
	assert_false(safetensors_writer_create(path, two_entries, 2, &second, &error));
	assert_non_null(strstr(error.message, "is writing it"));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_null(second);
	safetensors_writer_abort(writer);
}

static void open_file_of_the_reference_library_reads_all(void **state)
{
	struct safetensors *file;
	struct error error = {0};
	if (!safetensors_open(PENSTOCK_SOURCE_DIR "/tests/golden/safetensors_small.safetensors", &file, &error))
		fail_msg("%s", error.message);
	assert_int_equal(safetensors_count(file), 5);
	const struct safetensors_entry *entry = safetensors_find(file, "features.0.weight");
	assert_int_equal(entry->rank, 4);
	const uint64_t shape[4] = {2, 3, 2, 2};
	assert_memory_equal(entry->dimensions, shape, sizeof(shape));
	for (int i = 0; i < 24; i++)
		assert_true(read_values(file, entry->name)[i] == (float)i / 8 - 1);
	entry = safetensors_find(file, "classifier.6.weight");
	for (int i = 0; i < 15; i++)
		assert_true(read_values(file, entry->name)[i] == (float)(i * i));
	entry = safetensors_find(file, "features.0.bias");
	assert_true(read_values(file, entry->name)[0] == 1.5f && read_values(file, entry->name)[1] == -2.25f);
	entry = safetensors_find(file, "scalar");
	assert_int_equal(entry->rank, 0);
	assert_true(read_values(file, entry->name)[0] == 3.25f);
	entry = safetensors_find(file, "empty");
	assert_int_equal(entry->size_bytes, 0);
	assert_int_equal(entry->dimensions[1], 4);
	safetensors_close(file);
}

static void open_unaligned_data_reads_the_same(void **state)
{
	for (int blanks = 0; blanks < 4; blanks++) {
		char header[128], *bytes = path;
		snprintf(header, sizeof(header), "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}%.*s",
			 blanks, "   ");
		write_with_header(header, 8);
		const float values[2] = {1.25f, -7};
		int descriptor = open(bytes, O_WRONLY);
		assert_int_equal(pwrite(descriptor, values, 8, (off_t)(8 + strlen(header))), 8);
		close(descriptor);
		struct safetensors *file;
		struct error error = {0};
		assert_true(safetensors_open(path, &file, &error));
		const float *data = read_values(file, "a");
		assert_true(data[0] == 1.25f && data[1] == -7);
		safetensors_close(file);
	}
}

static void open_no_tensors_is_an_empty_file(void **state)
{
	struct safetensors *file;
	struct error error = {0};
	write_with_header("{}", 0);
	assert_true(safetensors_open(path, &file, &error));
	assert_int_equal(safetensors_count(file), 0);
	assert_null(safetensors_find(file, "a"));
	safetensors_close(file);
}

static void open_not_a_file_is_refused(void **state)
{
	unlink(path);
	assert_refused("No such file");
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_refused("is not a regular file");
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_refused("is a folder: name a file in it");
	rmdir(path);
}

static void open_bad_length_is_refused(void **state)
{
	write_file("", 0);
	assert_refused("is empty");
	write_file("\1\0\0", 3);
	assert_refused("is 3 bytes");
	write_file("\3\0\0\0\0\0\0\0{}", 10);
	assert_refused("names a header of 3 bytes and has 2");
	write_file("\377\377\377\377\377\377\377\377{}", 10);
	assert_refused("names a header of 18446744073709551615 bytes");
	write_file("this is some other file", 23);
	assert_refused("not a safetensors file");
	write_file("\1\0\0\1\0\0\0\0", 8); // one byte over the limit, in a sparse file that has it
	assert_int_equal(truncate(path, 17 << 20), 0);
	assert_refused("the maximum is 16777216");
}

// Every type of a file that is told and left alone; the three that are read are widened to the bit.
static void read_narrow_types_are_widened_exactly(void **state)
{
	static const uint16_t halves[4] = {0x3c00, 0x0001, 0xfbff, 0x7c00},
			      brains[4] = {0x3f80, 0x0001, 0xff7f, 0xff80};
	static const uint32_t half_bits[4] = {0x3f800000, 0x33800000, 0xc77fe000, 0x7f800000};
	static const uint32_t brain_bits[4] = {0x3f800000, 0x00010000, 0xff7f0000, 0xff800000};
	struct safetensors *file;
	struct error error = {0};
	float values[4];
	write_with_header("{\"half\":{\"dtype\":\"F16\",\"shape\":[2,2],\"data_offsets\":[0,8]},"
			  "\"brain\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[8,16]}}",
			  16);
	int descriptor = open(path, O_WRONLY);
	off_t end = lseek(descriptor, 0, SEEK_END);
	assert_int_equal(pwrite(descriptor, halves, 8, end - 16), 8);
	assert_int_equal(pwrite(descriptor, brains, 8, end - 8), 8);
	close(descriptor);
	assert_true(safetensors_open(path, &file, &error));
	assert_true(safetensors_read(file, safetensors_find(file, "half"), 0, 4, values, &error));
	assert_memory_equal(values, half_bits, sizeof(half_bits));
	assert_true(safetensors_read(file, safetensors_find(file, "brain"), 0, 4, values, &error));
	assert_memory_equal(values, brain_bits, sizeof(brain_bits));
	assert_true(safetensors_read(file, safetensors_find(file, "brain"), 2, 1, values, &error)); // in the middle
	assert_memory_equal(values, brain_bits + 2, 4);
	safetensors_close(file);
}

static void open_types_that_are_not_read_are_left_alone(void **state)
{
	struct safetensors *file;
	struct error error = {0};
	write_with_header("{\"n\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
			  "\"q\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[8,10]},"
			  "\"new\":{\"dtype\":\"F1_2\\u001b\",\"shape\":[9],\"data_offsets\":[10,12]},"
			  "\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]}}",
			  16);
	float value;
	if (!safetensors_open(path, &file, &error))
		fail_msg("%s", error.message);
	assert_true(safetensors_read(file, safetensors_find(file, "w"), 0, 1, &value, &error));
	assert_false(safetensors_check_type(safetensors_find(file, "n"), &error));
	assert_string_equal(error.message,
			    "n has type I64 in the file; F32, F16 and BF16 are read: convert it to float32");
	assert_int_equal(error.code, ERROR_USAGE);
	assert_false(safetensors_check_type(safetensors_find(file, "new"), &error));
	assert_non_null(strstr(error.message, "type F1_2? in the file"));
	safetensors_close(file);
}

static void read_file_that_shrank_or_changed_is_an_error(void **state)
{
	struct safetensors *file;
	struct error error = {0};
	float value;
	write_with_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[2048],\"data_offsets\":[0,8192]}}", 8192);
	assert_true(safetensors_open(path, &file, &error));
	const struct safetensors_entry *entry = safetensors_find(file, "a");
	assert_true(safetensors_read(file, entry, 2047, 1, &value, &error));
	assert_int_equal(truncate(path, 4096), 0);
	assert_false(safetensors_read(file, entry, 2047, 1, &value, &error));
	assert_non_null(strstr(error.message, "a.safetensors: was cut short while it was being read"));
	assert_false(safetensors_read(file, entry, 0, 1, &value, &error));
	assert_non_null(strstr(error.message, "a.safetensors: was changed by another program"));
	assert_int_equal(error.code, ERROR_FAILED);
	assert_false(safetensors_read(file, entry, 2048, 1, &value, &error));
	safetensors_close(file);
}

static void open_files_of_other_formats_say_what_they_are(void **state)
{
	WRITE_TEXT("PK\3\4\0\0\0\0 as torch.save writes");
	assert_refused("is a file of torch.save (a zip archive), not safetensors. Two lines of Python convert it: "
		       "\"import torch, safetensors.torch\" and \"safetensors.torch.save_file(");
	WRITE_TEXT("\x80\2\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.");
	assert_refused("is a file of torch.save (a pickle)");
	WRITE_TEXT("\x80\4\x95\x10\0\0\0\0\0\0\0}");
	assert_refused("is a file of torch.save (a pickle)");
	WRITE_TEXT("version https://git-lfs.github.com/spec/v1\n");
	assert_refused("git lfs pull");
	WRITE_TEXT("\x89HDF\r\n\x1a\n");
	assert_refused("HDF5");
	WRITE_TEXT("\x80\2\0\0\0\0\0\0"); // a header of 640 bytes
	assert_refused("names a header of 640 bytes and has 0");
}

// ---- Sets of files

// Writes `text` as it is beside the other files.
static void write_beside(const char *name, const char *text)
{
	char kept[sizeof(path)];
	strcpy(kept, path);
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	write_file(text, strlen(text));
	strcpy(path, kept);
}

static void write_shard(const char *name, const char *header, size_t data_bytes)
{
	char kept[sizeof(path)];
	strcpy(kept, path);
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	write_with_header(header, data_bytes);
	strcpy(path, kept);
}

#define ONE                                                                                                            \
	"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"                                             \
	"\"twice\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}"
#define TWO                                                                                                            \
	"{\"b\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[0,6]},"                                             \
	"\"twice\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[6,10]}}"

static void open_index_reads_the_tensors_of_all_its_files(void **state)
{
	struct safetensors *file;
	struct error error = {0};
	float values[3];
	write_shard("one", ONE, 12);
	write_shard("two", TWO, 10);
	const char *index =
		"{\"metadata\": {\"total_size\": 18},\n \"weight_map\": {\"a\": \"one\", \"twice\": \"one\", "
		"\"b\": \"two\"}}";
	write_file(index, strlen(index));
	if (!safetensors_open(path, &file, &error))
		fail_msg("%s", error.message);
	assert_int_equal(safetensors_count(file), 3);
	assert_int_equal(safetensors_find(file, "twice")->count, 2); // the one that the index names
	assert_true(safetensors_read(file, safetensors_find(file, "b"), 0, 3, values, &error));
	safetensors_close(file);
}

static void open_bad_index_is_refused(void **state)
{
	static const struct {
		const char *map, *expected;
	} bad[] = {
		{"{\"weight_maps\": {\"a\": \"one\"}}", "without a \"weight_map\""},
		{"{\"weight_map\": {}, \"x\": 1}", "without a \"weight_map\""},
		{"{\"weight_map\": [\"a\", \"one\"]}", "without a \"weight_map\""},
		{"{\"weight_map\": {}, \"x\": 1}", "expected a .safetensors file, as penstock train --save and"},
		{"{}", "without a \"weight_map\""},
		{"[1, 2, 3, 4, 5]", "without a \"weight_map\""},
		{"\t[\"features.0.weight\"]", "without a \"weight_map\""},
		{"{\"type\": \"plan\"}\n{\"type\": \"step\"}\n", "is JSON, but is not a valid index: line 2"},
		{"{\"weight_map\": {\"a\": \"one\"", "is not a valid index: line 1"},
		{"{\"weight_map\": {\"a\": \"one\", \"a\": \"two\"}}", "duplicate"},
		{"{\"weight_map\": {\"a\": 1}}", "weight_map: tensor a: its file is not a string"},
		{"{\"weight_map\": {\"a\": \"../one\"}}",
		 "tensor a: its file is \"../one\"; expected the name of a file in"},
		{"{\"weight_map\": {\"a\": \"/etc/passwd\"}}", "its file is \"/etc/passwd\""},
		{"{\"weight_map\": {\"a\": \"..\"}}", "its file is \"..\""},
		{"{\"weight_map\": {\"a\": \"\"}}", "its file is \"\""},
		{"{\"weight_map\": {\"a\": \"\\u001b[2J\"}}", "too long, or not text"},
		{"{\"weight_map\": {\"a\": \"three\"}}", "its file three: No such file"},
		{"{\"weight_map\": {\"a\": \"two\"}}", "tensor a is not in two, but the index says that it is"},
		{"{\"weight_map\": {\"c\": \"one\"}}", "tensor c is not in one"},
		{"{\"weight_map\": {\"a\": \"a.safetensors\"}}", "its file a.safetensors: names a header of"},
		{"{\"weight_map\": {\"a\": \"text\"}}", "its file text: names a header of"},
	};
	write_beside("text", "this is not safetensors");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file(bad[i].map, strlen(bad[i].map));
		assert_refused(bad[i].expected);
	}
}

struct bad_header {
	const char *header, *expected;
	size_t data_bytes;
};

#define T(rest) "{\"a\":{\"dtype\":\"F32\"," rest "}}"
#define GOOD    "\"dtype\":\"F32\",\"shape\":[1]"
static const struct bad_header bad_headers[] = {
	{"", "not valid JSON", 0},
	{"{", "not valid JSON", 0},
	{"[]", "not a JSON object", 0},
	{"{} x", "not valid JSON", 0},
	{"{\"a\":\"\xff\"}", "not valid JSON", 0},
	{"{\"a\\u0000b\":1}", "not valid JSON", 0},
	{"{\"a\":1}", "tensor a: is not a JSON object", 0},
	{"{\"__metadata__\":[]}", "__metadata__ is not a JSON object", 0},
	{"{\"__metadata__\":{\"a\":1}}", "not a string", 0},
	{"{\"\":{" GOOD ",\"data_offsets\":[0,4]}}", "the name is empty", 4},
	{"{\"\\u001b[31m\":{" GOOD ",\"data_offsets\":[0,4]}}", "control character", 4},
	{"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", "has no dtype", 4},
	{"{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", "has no dtype", 4},
	{"{\"a\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[0,4]}}", "span 4 bytes, its shape needs 6", 4},
	{"{\"a\":{\"dtype\":\"I64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,4]}}", "overflows", 4},
	{T("\"data_offsets\":[0,4]"), "has no shape", 4},
	{T("\"shape\":4,\"data_offsets\":[0,4]"), "has no shape", 4},
	{T("\"shape\":[1.0],\"data_offsets\":[0,4]"), "dimension 0 is not a whole number", 4},
	{T("\"shape\":[1,-1],\"data_offsets\":[0,4]"), "dimension 1 is not a whole number", 4},
	{T("\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]"), "has 9 dimensions", 4},
	{T("\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]"), "overflows", 0},
	{T("\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]"), "overflows", 0},
	{T("\"shape\":[99999999999999999999],\"data_offsets\":[0,0]"), "not valid JSON", 0},
	{T("\"shape\":[1]"), "data_offsets are not two", 4},
	{T("\"shape\":[1],\"data_offsets\":[0]"), "data_offsets are not two", 4},
	{T("\"shape\":[1],\"data_offsets\":[0,4,8]"), "data_offsets are not two", 4},
	{T("\"shape\":[1],\"data_offsets\":[-4,0]"), "data_offsets are not two", 4},
	{T("\"shape\":[1],\"data_offsets\":{}"), "data_offsets are not two", 4},
	{T("\"shape\":[1],\"data_offsets\":[4,0]"), "outside the file's 4 bytes", 4},
	{T("\"shape\":[1],\"data_offsets\":[0,4]"), "outside the file's 3 bytes", 3},
	{T("\"shape\":[1],\"data_offsets\":[9223372036854775804,9223372036854775807]"), "outside the file's", 4},
	{T("\"shape\":[2],\"data_offsets\":[0,4]"), "span 4 bytes, its shape needs 8", 4},
	{T("\"shape\":[1],\"data_offsets\":[0,4]"), "4 bytes after the last tensor", 8},
	{T("\"shape\":[1],\"data_offsets\":[4,8]"), "4 bytes before tensor a", 8},
	{"{}", "1 byte after the last tensor belongs", 1},
	{"{\"a\":{" GOOD ",\"data_offsets\":[0,4]},\"b\":{" GOOD ",\"data_offsets\":[0,4]}}", "tensors a and b overlap",
	 4},
	{"{\"a\":{" GOOD ",\"data_offsets\":[0,4]},\"b\":{" GOOD ",\"data_offsets\":[2,6]}}", "tensors a and b overlap",
	 6},
	{"{\"a\":{" GOOD ",\"data_offsets\":[0,4]},\"b\":{" GOOD ",\"data_offsets\":[8,12]}}",
	 "4 bytes before tensor b", 12},
	{"{\"a\":{" GOOD ",\"data_offsets\":[0,4]},\"a\":{" GOOD ",\"data_offsets\":[4,8]}}", "duplicate", 8},
};

static void open_bad_header_is_refused(void **state)
{
	for (size_t i = 0; i < sizeof(bad_headers) / sizeof(bad_headers[0]); i++) {
		write_with_header(bad_headers[i].header, bad_headers[i].data_bytes);
		assert_refused(bad_headers[i].expected);
	}
}

static void open_long_name_is_refused(void **state)
{
	char header[512], name[200];
	for (int length = 127; length <= 128; length++) {
		memset(name, 'n', sizeof(name));
		name[length] = '\0';
		snprintf(header, sizeof(header), "{\"%s\":{" GOOD ",\"data_offsets\":[0,4]}}", name);
		write_with_header(header, 4);
		if (length == 128) {
			assert_refused("longer than 127 bytes");
			continue;
		}
		struct safetensors *file;
		struct error error = {0};
		assert_true(safetensors_open(path, &file, &error));
		assert_non_null(safetensors_find(file, name));
		safetensors_close(file);
	}
}

static void open_deep_nesting_is_refused(void **state)
{
	enum { DEPTH = 1 << 20 };
	char *header = malloc(DEPTH + 1);
	memset(header, '[', DEPTH);
	header[DEPTH] = '\0';
	write_with_header(header, 0);
	free(header);
	assert_refused("not valid JSON");
}

// Every cut and every changed byte of a good file: it opens or is refused, and what it says can be read.
static void open_damaged_file_never_reads_outside(void **state)
{
	static const char header[] =
		"{\"a\":{" GOOD ",\"data_offsets\":[0,4]},\"b\":{" GOOD ",\"data_offsets\":[4,8]}}";
	const size_t size = 8 + sizeof(header) - 1 + 8;
	uint8_t good[256] = {sizeof(header) - 1}, bad[256];
	memcpy(good + 8, header, sizeof(header) - 1);
	unsigned refused = 0;
	for (size_t at = 0; at < 2 * size; at++) {
		memcpy(bad, good, sizeof(bad));
		if (at < size)
			bad[at] ^= (uint8_t)(1 + at % 255);
		write_file(bad, at < size ? size : at - size);
		struct safetensors *file = NULL;
		struct error error = {0};
		if (!safetensors_open(path, &file, &error)) {
			assert_true(error.message[0] != '\0');
			refused++;
			continue;
		}
		volatile float sum = 0;
		for (uint32_t i = 0; i < safetensors_count(file); i++) {
			const struct safetensors_entry *entry = safetensors_entry(file, i);
			if (entry->type != SAFETENSORS_OTHER)
				sum = sum + read_values(file, entry->name)[0];
		}
		safetensors_close(file);
	}
	assert_true(refused >= size); // all the cuts, and most of the changes
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writer_parts_in_any_order_read_back),
		cmocka_unit_test(writer_existing_file_is_replaced_only_when_whole),
		cmocka_unit_test(writer_put_outside_the_tensor_is_refused),
		cmocka_unit_test(writer_disk_full_leaves_no_file),
		cmocka_unit_test(writer_create_bad_request_is_refused),
		cmocka_unit_test(writer_second_one_of_a_file_is_refused),
		cmocka_unit_test(open_file_of_the_reference_library_reads_all),
		cmocka_unit_test(open_unaligned_data_reads_the_same),
		cmocka_unit_test(read_narrow_types_are_widened_exactly),
		cmocka_unit_test(open_types_that_are_not_read_are_left_alone),
		cmocka_unit_test(read_file_that_shrank_or_changed_is_an_error),
		cmocka_unit_test(open_files_of_other_formats_say_what_they_are),
		cmocka_unit_test(open_index_reads_the_tensors_of_all_its_files),
		cmocka_unit_test(open_bad_index_is_refused),
		cmocka_unit_test(open_no_tensors_is_an_empty_file),
		cmocka_unit_test(open_not_a_file_is_refused),
		cmocka_unit_test(open_bad_length_is_refused),
		cmocka_unit_test(open_bad_header_is_refused),
		cmocka_unit_test(open_long_name_is_refused),
		cmocka_unit_test(open_deep_nesting_is_refused),
		cmocka_unit_test(open_damaged_file_never_reads_outside),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
