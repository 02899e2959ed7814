// Builds filters with libseccomp for tests/seccomp.rs. Standard input, one word list per line:
//   begin ACTION | native TOKEN | arch TOKEN | rule ACTION NAME [INDEX OP VALUE VALUE]... | end
// Numbers are decimal; `native` stands for another machine than this one. After each `end` one line goes out: the program
// in hex, or `error ERRNO`. With arguments: those of them that are names of calls, one per line.
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int add_rule(scmp_filter_ctx filter) {
	struct scmp_arg_cmp compares[6];
	unsigned count = 0;
	uint32_t action = strtoul(strtok(NULL, " \n"), NULL, 10);
	char *name = strtok(NULL, " \n"), *word;
	while (count < 6 && (word = strtok(NULL, " \n"))) {
		compares[count].arg = atoi(word);
		compares[count].op = atoi(strtok(NULL, " \n"));
		compares[count].datum_a = strtoull(strtok(NULL, " \n"), NULL, 10);
		compares[count].datum_b = strtoull(strtok(NULL, " \n"), NULL, 10);
		count++;
	}
	int number = seccomp_syscall_resolve_name(name);
	if (number == __NR_SCMP_ERROR)
		return 0;
	return seccomp_rule_add_array(filter, action, number, count, compares);
}

static void print_program(scmp_filter_ctx filter) {
	FILE *file = tmpfile();
	int rc = seccomp_export_bpf(filter, fileno(file)), byte;
	if (rc < 0) {
		printf("error %d\n", -rc);
	} else {
		rewind(file);
		while ((byte = fgetc(file)) != EOF)
			printf("%02x", byte);
		printf("\n");
	}
	fclose(file);
}

int main(int argc, char **argv) {
	for (int i = 1; i < argc; i++)
		if (seccomp_syscall_resolve_name(argv[i]) != __NR_SCMP_ERROR)
			puts(argv[i]);
	if (argc > 1)
		return 0;
	char line[4096];
	scmp_filter_ctx filter = NULL;
	int rc = 0;
	while (fgets(line, sizeof(line), stdin)) {
		char *verb = strtok(line, " \n");
		if (!strcmp(verb, "begin")) {
			rc = 0;
			filter = seccomp_init(strtoul(strtok(NULL, " \n"), NULL, 10));
		} else if (!strcmp(verb, "arch")) {
			int added = seccomp_arch_add(filter, strtoul(strtok(NULL, " \n"), NULL, 10));
			if (added < 0 && added != -EEXIST && rc == 0)
				rc = added;
		} else if (!strcmp(verb, "native")) {
			uint32_t token = strtoul(strtok(NULL, " \n"), NULL, 10);
			if (token != seccomp_arch_native()) {
				seccomp_arch_add(filter, token);
				seccomp_arch_remove(filter, SCMP_ARCH_NATIVE);
			}
		} else if (!strcmp(verb, "rule")) {
			int added = add_rule(filter);
			if (added < 0 && rc == 0)
				rc = added;
		} else if (!strcmp(verb, "end")) {
			if (rc < 0)
				printf("error %d\n", -rc);
			else
				print_program(filter);
			seccomp_release(filter);
		}
	}
	return 0;
}
