/* A server that answers at once: streams of two tokens, one write for each event. `instant PORT` listens on 127.0.0.1.

   Reads every request that is there before it answers them, so that `peak` (GET /__log) is how many a client really
   keeps in flight. One thread, one epoll loop. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 4096
#define ROOM 16384
#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
#define EVENT "data: {\"id\":\"instant-1\",\"object\":\"text_completion\",\"created\":1700000000,\"model\":\"mock\","

static struct { char data[ROOM]; int size; } in[MOST];
static int ready[MOST], asked;
static long served, peak;
static char first[1024], second[1024], usage[1024], done[256];

static void chunk(char *out, const char *head, const char *event, const char *tail) {
    sprintf(out, "%s%zx\r\n%s\r\n%s", head, strlen(event), event, tail);
}

static void put(int fd, const char *text) {
    size_t left = strlen(text);
    while (left) {
        ssize_t sent = send(fd, text, left, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) continue;
        if (sent <= 0) return;
        text += sent, left -= sent;
    }
}

/* The bytes of the request at the front of what came, 0 if it is not whole. */
static int whole(int fd) {
    in[fd].data[in[fd].size] = 0;
    char *end = strstr(in[fd].data, "\r\n\r\n");
    if (!end) return 0;
    char *length = strcasestr(in[fd].data, "\r\ncontent-length:");
    int size = end + 4 - in[fd].data + (length && length < end ? atoi(length + 17) : 0);
    return size <= in[fd].size ? size : 0;
}

static void closed(int fd) {
    in[fd].size = 0;
    close(fd);
}

static void take(int fd) {
    ssize_t got = recv(fd, in[fd].data + in[fd].size, ROOM - 1 - in[fd].size, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) { closed(fd); return; }
    in[fd].size += got;
    int size = whole(fd);
    if (!size) return;
    int post = !strncmp(in[fd].data, "POST", 4), log = !strncmp(in[fd].data, "GET /__log", 10);
    memmove(in[fd].data, in[fd].data + size, in[fd].size -= size);
    if (post) { ready[asked++] = fd; return; }
    char body[256], answer[512];
    if (log) sprintf(body, "{\"peak\": %ld, \"served\": %ld}", peak, served);
    else strcpy(body, "{\"object\": \"list\", \"data\": [{\"id\": \"mock\", \"object\": \"model\"}]}");
    sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
    put(fd, answer);
}

int main(int argc, char **argv) {
    const char *token = "\"choices\":[{\"index\":0,\"text\":\" tok\",\"logprobs\":null,\"finish_reason\":";
    char event[512];
    sprintf(event, "%s%snull}]}\n\n", EVENT, token), chunk(first, HEAD, event, "");
    sprintf(event, "%s%s\"length\"}]}\n\n", EVENT, token), chunk(second, "", event, "");
    sprintf(event, "%s\"choices\":[],\"usage\":{\"prompt_tokens\":32,\"completion_tokens\":2,\"total_tokens\":34}}\n\n", EVENT);
    chunk(usage, "", event, ""), chunk(done, "", "data: [DONE]\n\n", "0\r\n\r\n");
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, epoll = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0)};
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof where;
    if (bind(listener, (void *)&where, sizeof where) || listen(listener, MOST)) return 1;
    getsockname(listener, (void *)&where, &length);
    printf("listening on 127.0.0.1:%d\n", ntohs(where.sin_port)), fflush(stdout);
    struct epoll_event events[MOST], want = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &want);
    for (;;) {
        int count = epoll_wait(epoll, events, MOST, -1);
        for (int n = 0; n < count; n++) {
            int fd = events[n].data.fd;
            if (fd != listener) { take(fd); continue; }
            while ((fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
                if (fd >= MOST) { close(fd); continue; }
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                in[fd].size = 0, want.data.fd = fd;
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &want);
            }
        }
        if (asked > peak) peak = asked;
        const char *parts[] = {first, second, usage, done};
        for (int part = 0; part < 4; part++)
            for (int n = 0; n < asked; n++) put(ready[n], parts[part]);
        served += asked, asked = 0;
    }
}
