// Objects and lists, and the places of their members. See hjson.h.
#include "coordinator/config/hjson.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/config/hjson_scan.h"

struct member {
	const json_t *object;
	char *key;           // owned
	const json_t *value; // in another's place once the value is replaced
	size_t offset;       // of the key
};

struct hjson {
	json_t *root;
	char *text;
	struct member *members; // in the text's order
	size_t count, capacity;
};

struct parser {
	struct hjson_scanner scanner;
	struct hjson *document;
	unsigned depth;
};

static bool parse_value(struct parser *parser, json_t **ret_value);

static bool no_memory(struct parser *parser)
{
	parser->scanner.mistakes->no_memory = true;
	parser->scanner.is_stopped = true;
	return false;
}

static bool stop(struct parser *parser, size_t offset, const char *message)
{
	parser->scanner.is_stopped = true;
	return hjson_scanner_fail(&parser->scanner, offset, "%s", message);
}

static const struct member *find_member(const struct hjson *document, const json_t *object, const char *key)
{
	for (size_t i = document->count; i > 0; i--) {
		const struct member *member = &document->members[i - 1];
		if (member->object == object && strcmp(member->key, key) == 0)
			return member;
	}
	return NULL;
}

static void note_duplicate(struct parser *parser, const json_t *object, const char *key, size_t offset)
{
	struct mistakes *mistakes = parser->scanner.mistakes;
	struct mistakes_place place = {0}, first = {0};
	if (mistakes->count < MISTAKES_MAXIMUM) {
		first = hjson_scanner_place(&parser->scanner, find_member(parser->document, object, key)->offset);
		place = hjson_scanner_place(&parser->scanner, offset);
	}
	mistakes_add(mistakes, place, "duplicate key \"%.80s\"; the first is at line %u, column %u", key, first.line,
		     first.column);
}

// Takes `key` and `value`. The first of two members with one key stays.
static bool add_member(struct parser *parser, json_t *object, char *key, size_t offset, json_t *value)
{
	struct hjson *document = parser->document;
	if (json_object_get(object, key) != NULL) {
		note_duplicate(parser, object, key, offset);
		free(key);
		json_decref(value);
		return true;
	}
	if (document->count == document->capacity) {
		size_t capacity = document->capacity * 2 + 32;
		struct member *members = reallocarray(document->members, capacity, sizeof(*members));
		if (members != NULL) {
			document->members = members;
			document->capacity = capacity;
		}
	}
	if (document->count == document->capacity || json_object_set(object, key, value) < 0) {
		free(key);
		json_decref(value);
		return no_memory(parser);
	}
	json_decref(value);
	document->members[document->count++] = (struct member){object, key, value, offset};
	return true;
}

// False after a mistake, behind which recover() may go on.
static bool parse_member(struct parser *parser, json_t *object)
{
	struct hjson_scanner *scanner = &parser->scanner;
	json_t *value = NULL;
	size_t offset = scanner->at; // hjson_scan_next was called
	char *key = hjson_scan_key(scanner);
	if (key == NULL)
		return false;
	if (!parse_value(parser, &value)) {
		free(key);
		return false;
	}
	return add_member(parser, object, key, offset, value);
}

// Goes on behind a wrong member: at a comma or a closing brace that follows it at once, or in the next line.
static void recover(struct parser *parser)
{
	struct hjson_scanner *scanner = &parser->scanner;
	char next = scanner->text[scanner->at];
	if (next == '[' || next == ']' || next == '{')
		scanner->is_stopped = true; // brackets do not match
	else if (next != ',' && next != '}')
		scanner->at += strcspn(scanner->text + scanner->at, "\n");
}

// The first character of the next member or item, behind a comma if one may stand here.
static char next_after_comma(struct hjson_scanner *scanner, bool comma_may_follow)
{
	char next = hjson_scan_next(scanner);
	if (next != ',' || !comma_may_follow)
		return next;
	scanner->at++;
	return hjson_scan_next(scanner);
}

// The members of an object, whose opening brace is at `begin`; without braces, to the end of the text.
static bool parse_members(struct parser *parser, json_t *object, bool has_braces, size_t begin)
{
	struct hjson_scanner *scanner = &parser->scanner;
	for (bool comma_may_follow = false;; comma_may_follow = true) {
		char next = next_after_comma(scanner, comma_may_follow);
		if (scanner->is_stopped)
			return false;
		if (next == '\0' && has_braces && scanner->is_broken) // recover() may have passed over the brace
			scanner->is_stopped = true;
		else if (next == '\0' && has_braces)
			stop(parser, begin, "the object that begins here has no closing brace (})");
		if (next == '\0')
			return !has_braces;
		if (next == '}' && !has_braces)
			return stop(parser, scanner->at, "a closing brace (}) without an opening one");
		if (next == '}') {
			scanner->at++;
			return true;
		}
		if (!parse_member(parser, object) && !scanner->is_stopped)
			recover(parser);
		if (scanner->is_stopped)
			return false;
	}
}

static bool parse_items(struct parser *parser, json_t *list, size_t begin)
{
	struct hjson_scanner *scanner = &parser->scanner;
	for (bool comma_may_follow = false;; comma_may_follow = true) {
		json_t *value = NULL;
		char next = next_after_comma(scanner, comma_may_follow);
		if (scanner->is_stopped)
			return false;
		if (next == ']') {
			scanner->at++;
			return true;
		}
		if (next == '\0' || next == '}' || next == ':')
			return stop(parser, begin, "the list that begins here has no closing bracket (])");
		if (!parse_value(parser, &value)) {
			scanner->is_stopped = true; // where the list ends is not known
			return false;
		}
		if (json_array_append_new(list, value) < 0)
			return no_memory(parser);
	}
}

static bool parse_brackets(struct parser *parser, bool is_object, json_t **ret_value)
{
	struct hjson_scanner *scanner = &parser->scanner;
	size_t begin = scanner->at++;
	if (parser->depth == HJSON_MAXIMUM_DEPTH)
		return stop(parser, begin, "objects and lists are nested too deeply");
	json_t *value = is_object ? json_object() : json_array();
	if (value == NULL)
		return no_memory(parser);
	parser->depth++;
	bool ok = is_object ? parse_members(parser, value, true, begin) : parse_items(parser, value, begin);
	parser->depth--;
	if (ok)
		*ret_value = value;
	else
		json_decref(value);
	return ok;
}

static bool parse_value(struct parser *parser, json_t **ret_value)
{
	char next = hjson_scan_next(&parser->scanner);
	if (parser->scanner.is_stopped)
		return false;
	if (next == '{' || next == '[')
		return parse_brackets(parser, next == '{', ret_value);
	json_t *value = hjson_scan_scalar(&parser->scanner);
	if (value != NULL)
		*ret_value = value;
	return value != NULL;
}

static bool parse_root(struct parser *parser)
{
	struct hjson_scanner *scanner = &parser->scanner;
	json_t **root = &parser->document->root;
	char next = hjson_scan_next(scanner);
	if (next == '[')
		return stop(parser, scanner->at, "expected an object, { ... }, and found a list");
	if (next != '{') {
		*root = json_object();
		return *root != NULL ? parse_members(parser, *root, false, scanner->at) : no_memory(parser);
	}
	if (!parse_brackets(parser, true, root))
		return false;
	next = hjson_scan_next(scanner);
	return scanner->is_stopped || next == '\0' ||
	       stop(parser, scanner->at, "text follows the closing brace (}) of the file");
}

// A copy that ends with NUL, in which each end of a line is one \n, as in Python's text files. Returns owned.
static char *copy_lines(const char *text, size_t size, size_t *ret_size)
{
	char *copy = malloc(size + 1);
	size_t written = 0;
	for (size_t i = 0; copy != NULL && i < size; i++)
		if (text[i] != '\r')
			copy[written++] = text[i];
		else if (i + 1 == size || text[i + 1] != '\n')
			copy[written++] = '\n';
	if (copy != NULL)
		copy[written] = '\0';
	*ret_size = written;
	return copy;
}

static bool check_characters(struct parser *parser, size_t size)
{
	const char *text = parser->scanner.text;
	size_t at = 0;
	while (at < size && text[at] != '\0' && strings_utf8_length(text + at) > 0)
		at += strings_utf8_length(text + at);
	return at == size ||
	       stop(parser, at,
		    text[at] == '\0' ? "a zero byte: the file is not text" : "this byte is not text in UTF-8");
}

bool hjson_parse(const char *text, size_t size, struct mistakes *mistakes, struct hjson **ret_document)
{
	static const char mark[] = "\xef\xbb\xbf"; // of the byte order; DeepSpeed passes over it, too
	struct hjson *document = calloc(1, sizeof(*document));
	size_t skipped = size >= 3 && memcmp(text, mark, 3) == 0 ? 3 : 0, copied = 0;
	struct parser parser = {.document = document};
	if (document != NULL)
		document->text = copy_lines(text + skipped, size - skipped, &copied);
	if (document == NULL || document->text == NULL) {
		mistakes->no_memory = true;
		hjson_destroy(document);
		return false;
	}
	hjson_scanner_init(&parser.scanner, document->text, mistakes);
	if (check_characters(&parser, copied) && parse_root(&parser) && !parser.scanner.is_broken) {
		*ret_document = document;
		return true;
	}
	hjson_destroy(document);
	return false;
}

void hjson_destroy(struct hjson *document)
{
	if (document == NULL)
		return;
	for (size_t i = 0; i < document->count; i++)
		free(document->members[i].key);
	free(document->members);
	json_decref(document->root);
	free(document->text);
	free(document);
}

json_t *hjson_root(const struct hjson *document)
{
	return document->root;
}

struct mistakes_place hjson_place(const struct hjson *document, const json_t *object, const char *key)
{
	const struct member *member = find_member(document, object, key);
	struct hjson_scanner scanner;
	if (member == NULL || json_object_get(object, key) != member->value)
		return (struct mistakes_place){0};
	hjson_scanner_init(&scanner, document->text, NULL);
	return hjson_scanner_place(&scanner, member->offset);
}
