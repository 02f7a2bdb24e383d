//! A client that offers what it has, of a real sshd that logs all of it.

use std::process::Output;

use super::denies::FILE;
use kit::world::{Place, Route, SERVER, World};

/// Whose host keys and key are offered; another one tells by its failure that all before it was read.
const SOURCE: &str = "198.51.100.7";
const LATER: &str = "198.51.100.8";

/// A client machine with two host keys that the server does not know, and a key of tbuser's that it does.
const KEYS: &str = r#"
rm -f /etc/ssh/ssh_host_*
for kind in ecdsa ed25519; do ssh-keygen -q -t $kind -N '' -f /etc/ssh/ssh_host_${kind}_key; done
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/e2e_own
cp /etc/ssh/e2e_own.pub /etc/ssh/e2e_authorized
echo EnableSSHKeysign yes >/etc/ssh/ssh_config
cat >>/etc/ssh/e2e_config <<'END'
LogLevel VERBOSE
HostbasedAuthentication yes
HostbasedUsesNameFromPacketOnly yes
AuthorizedKeysFile /etc/ssh/e2e_authorized
END
"#;

fn offer(world: &World, methods: &str) -> Output {
    let options = format!(
        "-F /dev/null -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=5 -o BatchMode=yes \
         -o EnableSSHKeysign=yes -o HostbasedAuthentication=yes -o PreferredAuthentications={methods} \
         -o IdentitiesOnly=yes -i /etc/ssh/e2e_own -l tbuser -b {SOURCE} {SERVER} true"
    );
    world.enter(Place::Attacker, &["ssh"]).args(options.split_whitespace()).output().unwrap()
}

#[test]
fn host_keys_are_offered_and_not_guessed() {
    let Some(mut world) = World::new("host_keys_are_offered_and_not_guessed") else { return };
    world.run(&["sh", "-ec", KEYS]);
    world.start_sshd(Route::File);
    let _denyd = world.start_denyd(Some(FILE));
    let refused = |world: &World| world.log().matches("Failed hostbased for tbuser from 198.51.100.7 ").count();

    let output = offer(&world, "hostbased,publickey");
    assert!(output.status.success(), "{output:?}");
    assert!(world.log().contains("Accepted publickey for tbuser from 198.51.100.7 "), "{}", world.log());
    assert_eq!(refused(&world), 2, "{}", world.log());
    world.attacker.fail(LATER, "tbuser");
    world.wait_count(LATER, "valid", 1);
    assert_eq!(world.count(SOURCE, "valid"), 0, "it logged in");

    let output = offer(&world, "hostbased");
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(refused(&world), 4, "{}", world.log());
    world.attacker.fail(LATER, "tbuser");
    world.wait_count(LATER, "valid", 2);
    assert_eq!(world.count(SOURCE, "valid"), 1, "nobody logged in");
}
