// Builds filters with libseccomp for tests/seccomp_libseccomp.rs. Standard input, one word list per line:
//   begin ACTION | arch TOKEN | rule ACTION NAME [INDEX OP VALUE VALUE]... | end
// Numbers are decimal. After each `end` one line goes out: the program in hex, or `error ERRNO`.
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

int main(void) {
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
