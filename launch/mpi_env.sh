# The environment in which Open MPI 4.1 and 5 work well on any machine. Source it before mpirun or a program that uses MPI:
#   . launch/mpi_env.sh
# A value that is already set stays. On a cluster with a fast network, set OMPI_MCA_pml and OMPI_MCA_btl to what it needs.

# Containers and CI run as root, which mpirun refuses unless both are set.
export OMPI_ALLOW_RUN_AS_ROOT="${OMPI_ALLOW_RUN_AS_ROOT:-1}"
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="${OMPI_ALLOW_RUN_AS_ROOT_CONFIRM:-1}"
# More ranks than cores are allowed; without it "not enough slots".
export OMPI_MCA_rmaps_base_oversubscribe="${OMPI_MCA_rmaps_base_oversubscribe:-1}"
export PRTE_MCA_rmaps_default_mapping_policy="${PRTE_MCA_rmaps_default_mapping_policy:-:oversubscribe}"  # Open MPI 5's name
# Waiting ranks give up their core. Where ranks share cores, a 1 KB all-reduce takes 32 ms without this, 15 us with it.
export OMPI_MCA_mpi_yield_when_idle="${OMPI_MCA_mpi_yield_when_idle:-1}"
# Ranks are not bound to a core: a bound rank would run all its threads on that one.
export OMPI_MCA_hwloc_base_binding_policy="${OMPI_MCA_hwloc_base_binding_policy:-none}"
export PRTE_MCA_hwloc_default_binding_policy="${PRTE_MCA_hwloc_default_binding_policy:-none}"
# Shared memory and TCP only: probing for other networks takes 0.2 s at every start. (Open MPI 5 knows vader as sm.)
export OMPI_MCA_pml="${OMPI_MCA_pml:-ob1}"
export OMPI_MCA_btl="${OMPI_MCA_btl:-self,vader,tcp}"
# A program started without mpirun is a group of one and needs no daemon.
export OMPI_MCA_ess_singleton_isolated="${OMPI_MCA_ess_singleton_isolated:-1}"
# OpenMP's threads wait awake for some 0.1 ms, then asleep: with other work on the machine a training step takes 2.3 to 3
# times as long without this. (photon does it by itself; here it is for other programs.)
export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-10000}"
# ROMIO is the MPI-IO that was measured with HDF5.
export OMPI_MCA_io="${OMPI_MCA_io:-romio321}"
# A host that vanishes is noticed after 3 s of silence and three probes a second apart, not after two hours.
export OMPI_MCA_oob_tcp_keepalive_time="${OMPI_MCA_oob_tcp_keepalive_time:-3}"
export OMPI_MCA_oob_tcp_keepalive_intvl="${OMPI_MCA_oob_tcp_keepalive_intvl:-1}"
export OMPI_MCA_oob_tcp_keepalive_probes="${OMPI_MCA_oob_tcp_keepalive_probes:-3}"
export PRTE_MCA_oob_tcp_keepalive_time="${PRTE_MCA_oob_tcp_keepalive_time:-$OMPI_MCA_oob_tcp_keepalive_time}"
export PRTE_MCA_oob_tcp_keepalive_intvl="${PRTE_MCA_oob_tcp_keepalive_intvl:-$OMPI_MCA_oob_tcp_keepalive_intvl}"
export PRTE_MCA_oob_tcp_keepalive_probes="${PRTE_MCA_oob_tcp_keepalive_probes:-$OMPI_MCA_oob_tcp_keepalive_probes}"
