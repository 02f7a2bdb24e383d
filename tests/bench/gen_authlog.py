#!/usr/bin/python3 -B
"""Deterministic synthetic sshd/auth log, modelled on real OpenSSH lines.

usage: gen_authlog.py --bytes N [--format 3164|5424|export] [--seed S] --out FILE [--truth FILE.json]
                      [--hosts-truth FILE] [--max-events N] [--snap BYTES:TRUTHFILE:HOSTSFILE] [--kinds FILE]
       gen_authlog.py --matrix DIR      200 lines per line kind and address family, each kind in a file of its own

--bytes counts RFC 3164 bytes whatever the output format, so that the same --bytes and --seed
give the SAME events in every format. Only random() and integer arithmetic are used: the stream is
the same on every CPython 3. Nothing is resolved or contacted; addresses are just text.
Writes only the files named; ends after --bytes or --max-events (some 10 s per 100 MB).
Uses no scratch directory. Packages: python3
"""
import sys, json, random, math, argparse, time, os

SEED = 20261114
T0 = 1794614400            # 2026-11-14 00:00:00 UTC; 7 days of log
DAYS = 7
BPL = 112.0                # expected bytes per line (only used to spread time stamps)
N4, N6 = 200_000, 20_000
NH = N4 + N6
HOST = "bastion01"
MON = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()

# class: attempt  = an authentication attempt that was refused, the first/authoritative line of it
#        echo     = another line about an attempt or an attacking session already logged otherwise
#        probe    = attack/scan without any authentication attempt (no ident, bad banner, kex, timeout)
#        noaddr   = sshd failure line that carries no address
#        noise    = everything else
KINDS, KCLS = [], []
def kind(name, cls):
    KINDS.append(name); KCLS.append(cls); return len(KINDS) - 1

FPV=kind('failed_password_valid','attempt')
FPI=kind('failed_password_invalid','attempt')
FNI=kind('failed_none_invalid','attempt')
FKI=kind('failed_kbdint_pam_valid','attempt')
FKJ=kind('failed_kbdint_pam_invalid','attempt')
FPK=kind('failed_publickey_valid','attempt')
FPKI=kind('failed_publickey_invalid','attempt')
UNA=kind('user_not_allowed_allowusers','attempt')
UND=kind('user_not_allowed_denyusers','attempt')
UNG=kind('user_not_allowed_no_group','attempt')
RLR=kind('root_login_refused','attempt')
IVU=kind('invalid_user','echo')
IVE=kind('invalid_user_empty','echo')
PAE=kind('error_pam_auth_failure','echo')
PUN=kind('error_pam_user_not_known','echo')
PAF=kind('pam_unix_auth_failure','echo')
PAFU=kind('pam_unix_auth_failure_nouser','echo')
PMO=kind('pam_n_more','echo')
MAX=kind('max_attempts_exceeded','echo')
DTM=kind('disconnecting_too_many','echo')
CCA=kind('closed_by_authenticating','echo')
CCI=kind('closed_by_invalid','echo')
CRA=kind('reset_by_authenticating','echo')
DFA=kind('disconnected_from_authenticating','echo')
DFI=kind('disconnected_from_invalid','echo')
RDP=kind('received_disconnect_preauth','echo')
RDA=kind('received_disconnect_3_authfail','echo')
CCP=kind('closed_by_ip_preauth','probe')
CCX=kind('closed_by_ip_plain','probe')
CRP=kind('reset_by_ip_preauth','probe')
NID=kind('did_not_receive_ident','probe')
BPV=kind('bad_protocol_version','probe')
BEX=kind('banner_exchange_invalid','probe')
NEG=kind('unable_to_negotiate_kex','probe')
NEH=kind('unable_to_negotiate_hostkey','probe')
TMO=kind('timeout_before_auth_fatal','probe')
TM2=kind('timeout_before_auth_9_9','probe')
DRP=kind('drop_connection_maxstartups','probe')
DPN=kind('drop_connection_penalty','probe')
SDF=kind('ssh_dispatch_run_fatal','probe')
KEC=kind('kex_ident_closed_noaddr','noaddr')
KEI=kind('kex_ident_client_invalid_noaddr','noaddr')
PCP=kind('pam_check_pass_unknown','noaddr')
PIG=kind('pam_ignoring_max_retries','noaddr')
ACP=kind('accepted','noise')
PSO=kind('pam_session','noise')
LOG=kind('logind','noise')
SUD=kind('sudo','noise')
CRO=kind('cron','noise')
SDM=kind('sshd_misc','noise')
OTH=kind('other','noise')

def host_table(rng):
    """200k distinct IPv4 and 20k distinct IPv6, shuffled so that Zipf rank and family are independent."""
    s, hosts = set(), []
    while len(s) < N4:
        a = 1 + int(rng.random() * 223); b = int(rng.random() * 256)
        if a in (10, 127) or (a == 172 and 16 <= b < 32) or (a == 192 and b == 168) or (a == 169 and b == 254) or (a == 100 and 64 <= b < 128):
            continue
        s.add((a, b, int(rng.random() * 256), 1 + int(rng.random() * 254)))
    hosts = ["%d.%d.%d.%d" % t for t in sorted(s)]
    v6, i = [], 0
    seen = set()
    while len(v6) < N6:
        k = int(rng.random() * 4); n = int(rng.random() * 65536); m = int(rng.random() * 65536); p = int(rng.random() * 65536); q = 1 + int(rng.random() * 65535)
        if k == 0:   t = "2001:db8:%x::%x" % (n | 1, q)
        elif k == 1: t = "2001:db8:%x:%x::%x" % (n | 1, m | 1, q)
        elif k == 2: t = "2001:db8:%x:%x:%x:%x:%x:%x" % (n | 1, m | 1, p | 1, (p ^ q) | 1, (m ^ q) | 1, q)
        else:        t = "2001:db8:%x::%x:%x:%x" % (n | 1, m | 1, p | 1, q)
        if t not in seen:
            seen.add(t); v6.append(t)
    hosts += v6
    for i in range(len(hosts) - 1, 0, -1):
        j = int(rng.random() * (i + 1)); hosts[i], hosts[j] = hosts[j], hosts[i]
    return hosts

INV = ("admin test user ubuntu oracle postgres guest support ftpuser git deploy jenkins hadoop pi ubnt minecraft nagios "
       "tomcat es elastic www web webmaster mysql vagrant ansible steam teamspeak ts3 dev developer centos ec2-user debian "
       "zabbix server student testuser demo backup1 operator1 0101 1234 inspur magnos matlab sales info odoo kafka redis "
       "mongodb gitlab docker kubernetes solana validator node eth miner frappe plex media nas synology").split()
VAL = "root root root root root root root daemon bin mail www-data backup nobody sshd uucp".split()
LEGIT = "alice bob carol dave erin frank grace heidi ivan judy".split()
FP = "SHA256:uZ3bJq2yQp0x8mRr1b0N7wQ8kYv5e3cVt6sLh4aGfD0"
OFFER = "diffie-hellman-group14-sha1,diffie-hellman-group-exchange-sha1,diffie-hellman-group1-sha1"

# each session: (weight, user class, tag, [(kind, line function(user, ip, port, n))...])
def S(w, uc, *lines): return (w, uc, lines)
fpv=lambda u,i,p,n: f"Failed password for {u} from {i} port {p} ssh2"
fpi=lambda u,i,p,n: f"Failed password for invalid user {u} from {i} port {p} ssh2"
ivu=lambda u,i,p,n: f"Invalid user {u} from {i} port {p}"
paf=lambda u,i,p,n: f"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={i}  user={u}"
pafn=lambda u,i,p,n: f"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={i} "
pcp=lambda u,i,p,n: "pam_unix(sshd:auth): check pass; user unknown"
rdp=lambda u,i,p,n: f"Received disconnect from {i} port {p}:11: Bye Bye [preauth]"
dfa=lambda u,i,p,n: f"Disconnected from authenticating user {u} {i} port {p} [preauth]"
dfi=lambda u,i,p,n: f"Disconnected from invalid user {u} {i} port {p} [preauth]"
cca=lambda u,i,p,n: f"Connection closed by authenticating user {u} {i} port {p} [preauth]"
cci=lambda u,i,p,n: f"Connection closed by invalid user {u} {i} port {p} [preauth]"
cra=lambda u,i,p,n: f"Connection reset by authenticating user {u} {i} port {p} [preauth]"
mx=lambda u,i,p,n: f"error: maximum authentication attempts exceeded for {u} from {i} port {p} ssh2 [preauth]"
mxi=lambda u,i,p,n: f"error: maximum authentication attempts exceeded for invalid user {u} from {i} port {p} ssh2 [preauth]"
dtm=lambda u,i,p,n: f"Disconnecting authenticating user {u} {i} port {p}: Too many authentication failures [preauth]"
dti=lambda u,i,p,n: f"Disconnecting invalid user {u} {i} port {p}: Too many authentication failures [preauth]"
pmo=lambda u,i,p,n: f"PAM 5 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost={i}  user={u}"
pig=lambda u,i,p,n: "PAM service(sshd) ignoring max retries; 6 > 3"
pae=lambda u,i,p,n: f"error: PAM: Authentication failure for {u} from {i}"
pun=lambda u,i,p,n: f"error: PAM: User not known to the underlying authentication module for illegal user {u} from {i}"
fki=lambda u,i,p,n: f"Failed keyboard-interactive/pam for {u} from {i} port {p} ssh2"
fkj=lambda u,i,p,n: f"Failed keyboard-interactive/pam for invalid user {u} from {i} port {p} ssh2"
fpk=lambda u,i,p,n: f"Failed publickey for {u} from {i} port {p} ssh2: RSA {FP}"
fpki=lambda u,i,p,n: f"Failed publickey for invalid user {u} from {i} port {p} ssh2: ED25519 {FP}"
fni=lambda u,i,p,n: f"Failed none for invalid user {u} from {i} port {p} ssh2"
ATT = [
 S(26, 'v', (PAF,paf),(FPV,fpv),(RDP,rdp),(DFA,dfa)),
 S(10, 'v', (PAF,paf),(FPV,fpv),(FPV,fpv),(FPV,fpv),(CCA,cca)),
 S(4,  'v', (PAF,paf),(FPV,fpv),(FPV,fpv),(FPV,fpv),(FPV,fpv),(FPV,fpv),(FPV,fpv),(MAX,mx),(DTM,dtm),(PMO,pmo),(PIG,pig)),
 S(22, 'i', (IVU,ivu),(PCP,pcp),(PAFU,pafn),(FPI,fpi),(RDP,rdp),(DFI,dfi)),
 S(9,  'i', (IVU,ivu),(PCP,pcp),(PAFU,pafn),(FPI,fpi),(CCI,cci)),
 S(5,  'i', (IVU,ivu),(CCI,cci)),
 S(1,  'i', (IVU,ivu),(FPI,fpi),(FPI,fpi),(FPI,fpi),(FPI,fpi),(FPI,fpi),(FPI,fpi),(MAX,mxi),(DTM,dti)),
 S(1,  'i', (IVU,ivu),(FNI,fni),(RDP,rdp)),
 S(.3, 'e', (IVE,lambda u,i,p,n: f"Invalid user  from {i} port {p}"),(CCI,lambda u,i,p,n: f"Connection closed by invalid user  {i} port {p} [preauth]")),
 S(2,  'v', (PAF,paf),(PAE,pae),(FKI,fki),(CCA,cca)),
 S(1.5,'i', (IVU,ivu),(PCP,pcp),(PAFU,pafn),(PUN,pun),(FKJ,fkj),(DFI,dfi)),
 S(2,  'v', (FPK,fpk),(FPK,fpk),(CCA,cca)),
 S(.7, 'i', (IVU,ivu),(FPKI,fpki),(CCI,cci)),
 S(1.5,'v', (UNA,lambda u,i,p,n: f"User {u} from {i} not allowed because not listed in AllowUsers"),(FPI,fpi),(CCI,cci)),
 S(.3, 'v', (UND,lambda u,i,p,n: f"User {u} from {i} not allowed because listed in DenyUsers"),(CCI,cci)),
 S(.3, 'v', (UNG,lambda u,i,p,n: f"User {u} from {i} not allowed because none of user's groups are listed in AllowGroups"),(CCI,cci)),
 S(.3, 'r', (RLR,lambda u,i,p,n: f"ROOT LOGIN REFUSED FROM {i} port {p}"),(CCA,cca)),
 S(1,  'v', (CRA,cra),),
 S(.5, 'v', (RDA,lambda u,i,p,n: f"error: Received disconnect from {i} port {p}:3: com.jcraft.jsch.JSchException: Auth fail [preauth]"),(DFA,dfa)),
 S(4,  'x', (CCP,lambda u,i,p,n: f"Connection closed by {i} port {p} [preauth]"),),
 S(3,  'x', (KEC,lambda u,i,p,n: "error: kex_exchange_identification: Connection closed by remote host"),(CCX,lambda u,i,p,n: f"Connection closed by {i} port {p}")),
 S(.7, 'x', (CRP,lambda u,i,p,n: f"Connection reset by {i} port {p} [preauth]"),),
 S(1.5,'x', (NID,lambda u,i,p,n: f"Did not receive identification string from {i} port {p}"),),
 S(.5, 'x', (BPV,lambda u,i,p,n: f"Bad protocol version identification '\\003' from {i} port {p}"),),
 S(1,  'x', (KEI,lambda u,i,p,n: "error: kex_exchange_identification: client sent invalid protocol identifier \"GET / HTTP/1.1\""),(BEX,lambda u,i,p,n: f"banner exchange: Connection from {i} port {p}: invalid format")),
 S(1,  'x', (NEG,lambda u,i,p,n: f"Unable to negotiate with {i} port {p}: no matching key exchange method found. Their offer: {OFFER} [preauth]"),),
 S(.5, 'x', (NEH,lambda u,i,p,n: f"Unable to negotiate with {i} port {p}: no matching host key type found. Their offer: ssh-rsa,ssh-dss [preauth]"),),
 S(.7, 'x', (TMO,lambda u,i,p,n: f"fatal: Timeout before authentication for {i} port {p}"),),
 S(.3, 'x', (TM2,lambda u,i,p,n: f"Timeout before authentication for connection from {i} to 10.0.0.5, pid = {n}"),),
 S(.7, 'x', (DRP,lambda u,i,p,n: f"drop connection #10 from [{i}]:{p} on [10.0.0.5]:22 past MaxStartups"),),
 S(.5, 'x', (DPN,lambda u,i,p,n: f"drop connection #0 from [{i}]:{p} on [10.0.0.5]:22 penalty: failed authentication"),),
 S(.2, 'x', (SDF,lambda u,i,p,n: f"ssh_dispatch_run_fatal: Connection from {i} port {p}: message authentication code incorrect [preauth]"),),
]
TRIED = {FPV, FPI, FKI, FKJ}                                # refused tries that sshd judged
BEGUN = {IVU, IVE, FNI, FPK, FPKI, UNA, UND, UNG, RLR, CCA, CCI, CRA, DFA, DFI, MAX, DTM}
def policy(lines):
    """(attempts, probes, refused) of one whole session by the counting policy: judged tries, else 1 for a login begun, else a probe"""
    k = [x[0] for x in lines]; n = sum(1 for x in k if x in TRIED)
    if n: return (n, 0, 0)
    if any(x in BEGUN for x in k): return (1, 0, 0)
    return (0, 0, 1) if any(x in (DRP, DPN) for x in k) else (0, 1, 0)
def cum(tbl):
    t, c = 0, []
    for w in tbl: t += w; c.append(t)
    return [x / t for x in c]

def noise_lines(rng):
    """(tag with pid or None, kind, text) list of one ordinary (non attack) episode."""
    r = rng.random(); u = LEGIT[int(rng.random() * 10)]; n = int(rng.random() * 90000)
    ip = "10.%d.%d.%d" % (int(rng.random() * 4), int(rng.random() * 40), 1 + int(rng.random() * 250)); p = 32768 + n % 28000
    if r < .30:
        a = f"Accepted publickey for {u} from {ip} port {p} ssh2: ED25519 {FP}" if r < .24 else f"Accepted password for {u} from {ip} port {p} ssh2"
        return [("sshd", ACP, a), ("sshd", PSO, f"pam_unix(sshd:session): session opened for user {u}(uid={1000 + n % 10}) by (uid=0)"),
                ("systemd-logind", LOG, f"New session {n} of user {u}."),
                ("systemd", PSO, f"pam_unix(systemd-user:session): session opened for user {u}(uid={1000 + n % 10}) by (uid=0)"),
                ("sshd", SDM, f"Received disconnect from {ip} port {p}:11: disconnected by user"),
                ("sshd", SDM, f"Disconnected from user {u} {ip} port {p}"),
                ("sshd", PSO, f"pam_unix(sshd:session): session closed for user {u}"),
                ("systemd-logind", LOG, f"Session {n} logged out. Waiting for processes to exit."),
                ("systemd-logind", LOG, f"Removed session {n}.")]
    if r < .70:
        return [("CRON", CRO, "pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)"),
                ("CRON", CRO, "pam_unix(cron:session): session closed for user root")]
    if r < .90:
        return [("sudo!", SUD, f"    {u} : TTY=pts/{n % 9} ; PWD=/home/{u} ; USER=root ; COMMAND=/usr/bin/systemctl status app-{n}.service"),
                ("sudo!", PSO, f"pam_unix(sudo:session): session opened for user root(uid=0) by {u}(uid={1000 + n % 10})"),
                ("sudo!", PSO, "pam_unix(sudo:session): session closed for user root")]
    if r < .95:
        return [("kernel!", OTH, f"[{n}.{n * 7 % 1000000:06d}] [UFW BLOCK] IN=eth0 OUT= MAC=52:54:00:12:34:56 SRC={ip} DST=10.0.0.5 LEN=40 TTL=244 PROTO=TCP SPT={p} DPT=23 WINDOW=1024 SYN")]
    return [("dbus-daemon", OTH, f"[system] Activating via systemd: service name='org.freedesktop.hostname1' unit='dbus-org.freedesktop.hostname1.service' requested by ':1.{n}'"),
            ("polkitd", OTH, f"Registered Authentication Agent for unix-process:{n}:{n * 3} (system bus name :1.{n % 999})")]

def gen(target, seed):
    """yield (time, tag, pid, kind, host index or -1, text), bounded by the consumer."""
    rng = random.Random(seed); R = rng.random
    hosts = host_table(rng)
    ac, lnN = cum([s[0] for s in ATT]), math.log(NH + 1)
    att = [s for s in ATT]
    # session lookup table of 4096 slots instead of a search
    lut, k = [], 0
    for x in range(4096):
        while ac[k] < (x + .5) / 4096: k += 1
        lut.append(att[k])
    exp = math.exp
    pnew, nxt = .176, 0        # share of attacking sessions that come from a host not seen before: all 220k hosts appear within 1 GB
    order = list(range(NH))
    for i in range(NH - 1, 0, -1):
        j = int(R() * (i + 1)); order[i], order[j] = order[j], order[i]
    pid = 1000
    def new():
        nonlocal pid, nxt
        pid += 1 + int(R() * 3)
        if pid > 4194000: pid = 1000
        if R() < .59:
            w, uc, lines = lut[int(R() * 4096)]
            if nxt < NH and R() < pnew: h = order[nxt]; nxt += 1
            else: h = int(exp(R() * lnN)) - 1
            ip = hosts[h]; p = 1024 + int(R() * 64500)
            x = R()
            if uc == 'v': u = VAL[int(x * 15)]
            elif uc == 'i':
                u = INV[int(x * 65) % len(INV)]
                if x > .8: u += str(int(x * 1e4) % 100)
                if x > .998: u = u + " " + u
            else: u = 'root'
            return [pid, h, u, ip, p, lines, 0, None]
        return [pid, -1, None, None, 0, None, 0, noise_lines(rng)]
    NS = 8
    slots = [new() for _ in range(NS)]
    while True:
        j = int(R() * NS)
        s = slots[j]
        i = s[6]
        if s[7] is None:
            k, f = s[5][i]
            n = len(s[5])
            yield "sshd", s[0], k, s[1], f(s[2], s[3], s[4], s[0]), (s[5] if i == n - 1 else None)
        else:
            tag, k, text = s[7][i]
            yield tag, s[0] if tag != "systemd-logind" else 612, k, -1, text, None
            n = len(s[7])
        i += 1
        if i == n: slots[j] = new()
        else: s[6] = i

def truth_json(kc, ha, hl, lines, nbytes, hosts):
    cls = {}
    for n, c, v in zip(KINDS, KCLS, kc): cls[c] = cls.get(c, 0) + v
    thr = lambda a, t: sum(1 for x in a if x >= t)
    top = sorted(range(NH), key=lambda h: -ha[h])[:20]
    return {"lines": lines, "bytes": nbytes, "by_class": cls, "by_kind": {n: {"class": c, "lines": v} for n, c, v in zip(KINDS, KCLS, kc)},
            "attack_lines_with_addr": cls.get('attempt', 0) + cls.get('echo', 0) + cls.get('probe', 0),
            "hosts_any": thr(hl, 1), "hosts_any_v4": sum(1 for h in range(NH) if hl[h] and ':' not in hosts[h]), "hosts_any_v6": sum(1 for h in range(NH) if hl[h] and ':' in hosts[h]),
            "hosts_attempt_ge": {str(t): thr(ha, t) for t in (1, 3, 5, 10, 100)},
            "top_hosts_attempts": [[hosts[h], ha[h], hl[h]] for h in top]}

def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--bytes", type=float, default=1e9); ap.add_argument("--format", default="3164")
    ap.add_argument("--seed", type=int, default=SEED); ap.add_argument("--out"); ap.add_argument("--truth")
    ap.add_argument("--hosts-truth", help="per host: address attempts lines"); ap.add_argument("--max-events", type=int, default=1 << 62)
    ap.add_argument("--snap", help="BYTES:TRUTHFILE:HOSTSFILE, also note the truth of the prefix of that many bytes"); ap.add_argument("--matrix"); ap.add_argument("--kinds", help="one byte per line: kind index")
    a = ap.parse_args()
    if a.matrix: return matrix(a.matrix, a.seed)
    if not a.out: ap.error("--out FILE is missing")
    if a.format not in ("3164", "5424", "export"): ap.error("--format is 3164, 5424 or export")
    hosts = host_table(random.Random(a.seed))
    kc, ha, hl = [0] * len(KINDS), [0] * NH, [0] * NH
    isatt = [c == 'attempt' for c in KCLS]
    dt = DAYS * 86400 / (1e9 / BPL)     # seconds per line
    nb = n = 0; last = -1; ts = ""; buf = []; out = open(a.out, "w", buffering=1 << 20)
    kf = open(a.kinds, "wb") if a.kinds else None; kb = bytearray()
    snap = a.snap.split(":") if a.snap else None
    fmt = a.format; target = int(a.bytes)
    PR = {"sshd": 38, "CRON": 78, "sudo!": 86, "kernel!": 4, "systemd-logind": 38, "systemd": 86, "dbus-daemon": 30, "polkitd": 86}
    boot = "0123456789abcdef0123456789abcdef"; mach = "fedcba9876543210fedcba9876543210"
    EXE = {"sshd": ("/usr/sbin/sshd", "sshd", "ssh.service"), "CRON": ("/usr/sbin/cron", "cron", "cron.service"), "sudo!": ("/usr/bin/sudo", "sudo", "session-3.scope"),
           "systemd-logind": ("/usr/lib/systemd/systemd-logind", "systemd-logind", "systemd-logind.service"), "systemd": ("/usr/lib/systemd/systemd", "systemd", "user@1000.service"),
           "dbus-daemon": ("/usr/bin/dbus-daemon", "dbus-daemon", "dbus.service"), "polkitd": ("/usr/lib/polkit-1/polkitd", "polkitd", "polkit.service"), "kernel!": ("", "kernel", "")}
    pol = {id(x[2]): policy(x[2]) for x in ATT}; tally = [0, 0, 0]; seen = bytearray(NH)
    for tag, pid, k, h, text, done in gen(target, a.seed):
        t = T0 + n * dt; sec = int(t)
        if sec != last:
            g = time.gmtime(sec); last = sec
            ts = "%s %2d %02d:%02d:%02d" % (MON[g.tm_mon - 1], g.tm_mday, g.tm_hour, g.tm_min, g.tm_sec)
            iso = "%04d-%02d-%02dT%02d:%02d:%02d" % (g.tm_year, g.tm_mon, g.tm_mday, g.tm_hour, g.tm_min, g.tm_sec)
        line = f"{ts} {HOST} {tag[:-1]}: {text}\n" if tag[-1] == '!' else f"{ts} {HOST} {tag}[{pid}]: {text}\n"
        if nb + len(line) > target or n >= a.max_events: break
        nb += len(line); n += 1
        kc[k] += 1
        if done is not None:
            q = pol[id(done)]; tally[0] += q[0]; tally[1] += q[1]; tally[2] += q[2]
            if q[0] or q[1]: seen[h] = 1
        if kf: kb.append(k)
        if h >= 0:
            hl[h] += 1
            if isatt[k]: ha[h] += 1
        if fmt == "3164": buf.append(line)
        elif fmt == "5424":
            us = int((t - sec) * 1e6)
            buf.append(f"<{PR[tag]}>1 {iso}.{us:06d}+00:00 {HOST} {tag.rstrip('!')} {'-' if tag[-1] == '!' else pid} - - {text}\n")
        else:
            us = int(t * 1e6) ; exe, comm, unit = EXE[tag]; pr = PR[tag]
            buf.append(f"__REALTIME_TIMESTAMP={us}\n__MONOTONIC_TIMESTAMP={us - T0 * 1000000 + 60000000}\n_BOOT_ID={boot}\n_TRANSPORT=syslog\nPRIORITY={pr & 7}\nSYSLOG_FACILITY={pr >> 3}\n"
                       f"SYSLOG_IDENTIFIER={tag.rstrip('!')}\nSYSLOG_PID={pid}\nSYSLOG_TIMESTAMP={ts} \n_PID={pid}\n_UID=0\n_GID=0\n_COMM={comm}\n_EXE={exe}\n_CMDLINE={comm}: [priv]\n_CAP_EFFECTIVE=1ffffffffff\n_SELINUX_CONTEXT=unconfined\n"
                       f"_SYSTEMD_CGROUP=/system.slice/{unit}\n_SYSTEMD_UNIT={unit}\n_SYSTEMD_SLICE=system.slice\n_SYSTEMD_INVOCATION_ID=aabbccddeeff00112233445566778899\n_MACHINE_ID={mach}\n_HOSTNAME={HOST}\n"
                       f"_SOURCE_REALTIME_TIMESTAMP={us - 3}\nMESSAGE={text}\n\n")
        if len(buf) >= 20000: out.write("".join(buf)); buf.clear()
        if snap and nb >= float(snap[0]):
            # the prefix ends after this line
            dump(snap[1], snap[2], kc, ha, hl, n, nb, hosts); snap = None
    out.write("".join(buf)); out.close()
    if kf: kf.write(kb); kf.close()
    if a.truth:
        dump(a.truth, a.hosts_truth, kc, ha, hl, n, nb, hosts); t = json.load(open(a.truth))
        t["policy"] = {"attempts": tally[0], "probes": tally[1], "refused": tally[2], "successes": kc[ACP], "addresses": sum(seen),
                       "note": "whole sessions by the counting policy: judged tries, else 1 for a login begun, else a probe; up to 8 sessions are cut off at the end of the file and not in here"}
        json.dump(t, open(a.truth, "w"), indent=1)
    print(f"{a.out}: {n} lines, {sum(hl)} of them with an attacker's address, {sum(ha)} refused attempts, {sum(1 for x in hl if x)} hosts")

def dump(tf, hf, kc, ha, hl, n, nb, hosts):
    json.dump(truth_json(kc, ha, hl, n, nb, hosts), open(tf, "w"), indent=1)
    if hf:
        with open(hf, "w") as f:
            for h in range(NH):
                if hl[h]: f.write(f"{hosts[h]} {ha[h]} {hl[h]}\n")

def matrix(d, seed):
    """200 lines of every attack kind, each kind in its own file, distinct host per line (so that no tool can merge them)."""
    os.makedirs(d, exist_ok=True); rng = random.Random(seed); hosts = host_table(rng)
    done = {}
    for w, uc, lines in ATT:
        for k, f in lines:
            if KINDS[k] in done: continue
            done[KINDS[k]] = 1
            for fam in ("v4", "v6"):
                hs = [x for x in hosts[:9000] if (':' in x) == (fam == "v6")][:200]
                with open(f"{d}/{KINDS[k]}.{fam}.log", "w") as o:
                    for n, ip in enumerate(hs):
                        u = "root" if uc in "vr" else INV[n % len(INV)]
                        o.write("Nov 19 10:%02d:%02d %s sshd[%d]: %s\n" % (n // 60, n % 60, HOST, 20000 + n, f(u, ip, 40000 + n, 20000 + n)))
    json.dump({n: c for n, c in zip(KINDS, KCLS)}, open(f"{d}/kinds.json", "w"), indent=1)
    print(f"{d}: {len(done)} kinds, two files each, and kinds.json")
main()
