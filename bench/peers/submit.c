/* Submit gangs to the Slurm of SLURM_CONF: one exclusive allocation of so many whole nodes per line of standard
 * input. One process for all of them, because starting salloc once a job costs more than the decision. A job
 * that cannot start yet stays pending: this program waits for nothing. Arguments, in any order:
 *   held  submit all held: Slurm then tries none at submission, which would cost it a decision each
 *   gres  ask for the 8 chips of each node by name too
 * Prints how many jobs were taken; exits 1 at the first refusal. */
#include <errno.h>
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void submit(uint32_t nodes, char *host, int held, int gres)
{
    static char *environment[] = {"PATH=/usr/bin:/bin", NULL};
    resource_allocation_response_msg_t *answer = NULL;
    job_desc_msg_t job;

    slurm_init_job_desc_msg(&job);
    job.name = "gang";
    job.user_id = getuid();
    job.group_id = getgid();
    job.work_dir = "/";
    job.alloc_node = host;
    job.alloc_sid = getpid();
    job.environment = environment;
    job.env_size = 1;
    job.min_nodes = job.max_nodes = job.num_tasks = nodes;
    job.ntasks_per_node = 1;
    job.shared = 0;        /* nobody else on its nodes */
    job.time_limit = 600;  /* minutes; nothing ends while a fill is measured */
    job.immediate = 0;     /* pending is an answer too */
    if (gres)
        job.tres_per_node = "gres:gpu:8";
    if (held)
        job.priority = 0;
    if (slurm_allocate_resources(&job, &answer)) {
        fprintf(stderr, "submit: %u nodes: %s\n", nodes, slurm_strerror(errno));
        exit(1);
    }
    slurm_free_resource_allocation_response_msg(answer);
}

int main(int count, char **arguments)
{
    int held = 0, gres = 0;
    char host[256] = "";
    unsigned nodes, taken = 0;

    for (int k = 1; k < count; k++) {
        held |= !strcmp(arguments[k], "held");
        gres |= !strcmp(arguments[k], "gres");
    }
    slurm_init(NULL);
    gethostname(host, sizeof host - 1);
    while (scanf("%u", &nodes) == 1) {
        submit(nodes, host, held, gres);
        taken++;
    }
    printf("%u\n", taken);
    return 0;
}
