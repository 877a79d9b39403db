// The oracle: asks the real kube-scheduler. It links the scheduler's framework with its default profile and
// answers, for each pod and node of a scenario, which filter is the first to fail. A scenario is one line of
// JSON on stdin, an answer one line on stdout. Pods are first taken through what the API server does to a pod
// that is made: defaults, the registry's strategy and validation. A test's part, never a part of Marea.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	genericrequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
	resourceslicetracker "k8s.io/dynamic-resource-allocation/resourceslice/tracker"
	"k8s.io/klog/v2"
	configv1 "k8s.io/kube-scheduler/config/v1"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	podregistry "k8s.io/kubernetes/pkg/registry/core/pod"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	internalcache "k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/dynamicresources"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodevolumelimits"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/kubernetes/pkg/scheduler/metrics"
	"k8s.io/kubernetes/pkg/scheduler/util/assumecache"
)

type scenario struct {
	Nodes       []*v1.Node                      `json:"nodes"`
	Placed      []*v1.Pod                       `json:"placed"`
	Nominated   []*v1.Pod                       `json:"nominated"`
	Asks        []*v1.Pod                       `json:"asks"`
	Namespaces  []*v1.Namespace                 `json:"namespaces"`
	Claims      []*v1.PersistentVolumeClaim     `json:"claims"`
	Volumes     []*v1.PersistentVolume          `json:"volumes"`
	Classes     []*storagev1.StorageClass       `json:"classes"`
	Drivers     []*storagev1.CSIDriver          `json:"drivers"`
	NodeDrivers []*storagev1.CSINode            `json:"nodeDrivers"`
	Capacities  []*storagev1.CSIStorageCapacity `json:"capacities"`
	Attachments []*storagev1.VolumeAttachment   `json:"attachments"`
}

type verdict struct {
	// The plugin that fails, empty when the pod fits; and what it says.
	Filter string `json:"filter"`
	Reason string `json:"reason,omitempty"`
}

type answer struct {
	// What is wrong with the scenario, if anything is.
	Invalid string `json:"invalid,omitempty"`
	// The pods as the API server would keep them.
	Placed    []*v1.Pod `json:"placed"`
	Nominated []*v1.Pod `json:"nominated"`
	Asks      []*v1.Pod `json:"asks"`
	// By pod asked about, and node.
	Verdicts []map[string]verdict `json:"verdicts"`
}

// snapshot is what the framework looks at: the current scenario's.
type snapshot struct{ *internalcache.Snapshot }

// nominator knows the nominated pods of the current scenario.
type nominator struct{ byNode map[string][]fwk.PodInfo }

func (n *nominator) AddNominatedPod(klog.Logger, fwk.PodInfo, *fwk.NominatingInfo) {}
func (n *nominator) DeleteNominatedPodIfExists(*v1.Pod)                            {}
func (n *nominator) UpdateNominatedPod(klog.Logger, *v1.Pod, fwk.PodInfo)          {}
func (n *nominator) NominatedPodsForNode(name string) []fwk.PodInfo                { return n.byNode[name] }

type oracle struct {
	factory   informers.SharedInformerFactory
	current   *snapshot
	nominated *nominator
	framework framework.Framework
}

func newOracle(ctx context.Context) *oracle {
	client := fake.NewClientset()
	factory := informers.NewSharedInformerFactory(client, 0)
	metrics.Register()
	var versioned configv1.KubeSchedulerConfiguration
	scheme.Scheme.Default(&versioned)
	var defaults config.KubeSchedulerConfiguration
	must(scheme.Scheme.Convert(&versioned, &defaults, nil))
	logger := klog.FromContext(ctx)
	claims := assumecache.NewAssumeCache(logger, factory.Resource().V1().ResourceClaims().Informer(), "ResourceClaim", "", nil)
	slices, err := resourceslicetracker.StartTracker(ctx, resourceslicetracker.Options{
		SliceInformer: factory.Resource().V1().ResourceSlices(), KubeClient: client,
	})
	must(err)
	o := &oracle{factory: factory, current: &snapshot{internalcache.NewEmptySnapshot()}, nominated: &nominator{}}
	o.framework, err = frameworkruntime.NewFramework(ctx, plugins.NewInTreeRegistry(), &defaults.Profiles[0],
		frameworkruntime.WithClientSet(client),
		frameworkruntime.WithInformerFactory(factory),
		frameworkruntime.WithSnapshotSharedLister(o.current),
		frameworkruntime.WithSharedDRAManager(dynamicresources.NewDRAManager(ctx, claims, slices, factory)),
		frameworkruntime.WithSharedCSIManager(nodevolumelimits.NewCSIManager(factory.Storage().V1().CSINodes().Lister())),
		frameworkruntime.WithPodNominator(o.nominated),
		frameworkruntime.WithParallelism(1),
	)
	must(err)
	return o
}

// fill puts the scenario's objects where the plugins look for them.
func (o *oracle) fill(s *scenario, placed, nominated []*v1.Pod) {
	core, storage := o.factory.Core().V1(), o.factory.Storage().V1()
	replace(core.Namespaces().Informer(), s.Namespaces)
	replace(core.PersistentVolumeClaims().Informer(), s.Claims)
	replace(core.PersistentVolumes().Informer(), s.Volumes)
	replace(core.Nodes().Informer(), s.Nodes)
	replace(storage.StorageClasses().Informer(), s.Classes)
	replace(storage.CSIDrivers().Informer(), s.Drivers)
	replace(storage.CSINodes().Informer(), s.NodeDrivers)
	replace(storage.CSIStorageCapacities().Informer(), s.Capacities)
	replace(storage.VolumeAttachments().Informer(), s.Attachments)
	o.current.Snapshot = internalcache.NewSnapshot(placed, s.Nodes)
	o.nominated.byNode = map[string][]fwk.PodInfo{}
	for _, pod := range nominated {
		info, err := framework.NewPodInfo(pod)
		must(err)
		node := pod.Status.NominatedNodeName
		o.nominated.byNode[node] = append(o.nominated.byNode[node], info)
	}
}

func replace[T runtime.Object](informer cache.SharedIndexInformer, objects []T) {
	list := make([]interface{}, len(objects))
	for i := range objects {
		legacyscheme.Scheme.Default(objects[i])
		list[i] = objects[i]
	}
	must(informer.GetIndexer().Replace(list, ""))
}

// ask runs the filters as a scheduling cycle does, on every node.
func (o *oracle) ask(ctx context.Context, pod *v1.Pod) map[string]verdict {
	state := framework.NewCycleState()
	verdicts := map[string]verdict{}
	nodes, err := o.current.NodeInfos().List()
	must(err)
	result, status, plugins := o.framework.RunPreFilterPlugins(ctx, state, pod)
	for _, node := range nodes {
		name := node.Node().Name
		switch {
		case !status.IsSuccess():
			filter := status.Plugin()
			if filter == "" && plugins.Len() == 1 {
				filter = sets.List(plugins)[0]
			}
			verdicts[name] = verdict{filter, status.Message()}
		case !result.AllNodes() && !result.NodeNames.Has(name):
			verdicts[name] = verdict{sets.List(plugins)[0], "not among the nodes that it names"}
		default:
			if judged := o.framework.RunFilterPluginsWithNominatedPods(ctx, state, pod, node); judged.IsSuccess() {
				verdicts[name] = verdict{}
			} else {
				verdicts[name] = verdict{judged.Plugin(), judged.Message()}
			}
		}
	}
	return verdicts
}

// admit takes a pod through what the API server does to it.
func admit(pod *v1.Pod) (*v1.Pod, error) {
	legacyscheme.Scheme.Default(pod)
	var internal core.Pod
	must(legacyscheme.Scheme.Convert(pod, &internal, nil))
	ctx := genericrequest.WithNamespace(genericrequest.NewContext(), pod.Namespace)
	status, deletion := internal.Status, internal.DeletionTimestamp
	podregistry.Strategy.PrepareForCreate(ctx, &internal)
	internal.DeletionTimestamp = nil
	if errs := podregistry.Strategy.Validate(ctx, &internal); len(errs) > 0 {
		return nil, fmt.Errorf("pod %s: %w", pod.Name, errs.ToAggregate())
	}
	podregistry.Strategy.Canonicalize(&internal)
	internal.Status, internal.DeletionTimestamp = status, deletion
	var made v1.Pod
	must(legacyscheme.Scheme.Convert(&internal, &made, nil))
	made.APIVersion, made.Kind = "v1", "Pod"
	return &made, nil
}

func admitAll(pods []*v1.Pod, invalid *string) []*v1.Pod {
	made := []*v1.Pod{}
	for _, pod := range pods {
		one, err := admit(pod)
		if err != nil {
			*invalid = err.Error()
			continue
		}
		made = append(made, one)
	}
	return made
}

func main() {
	klog.SetOutput(os.Stderr)
	klog.LogToStderr(false)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o := newOracle(ctx)
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) == 0 && err != nil {
			return
		}
		var s scenario
		must(json.Unmarshal(line, &s))
		var a answer
		a.Placed, a.Nominated, a.Asks = admitAll(s.Placed, &a.Invalid), admitAll(s.Nominated, &a.Invalid), admitAll(s.Asks, &a.Invalid)
		if a.Invalid == "" {
			o.fill(&s, a.Placed, a.Nominated)
			for _, pod := range a.Asks {
				a.Verdicts = append(a.Verdicts, o.ask(ctx, pod))
			}
		}
		text, err := json.Marshal(a)
		must(err)
		_, err = out.Write(append(text, '\n'))
		must(err)
		must(out.Flush())
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
